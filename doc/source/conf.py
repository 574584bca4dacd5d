"""Sphinx configuration of the documentation."""

extensions = [
    "openstackdocstheme",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
]

project = "Cyborg"
copyright = "OpenStack Foundation"
openstackdocs_repo_name = "openstack/cyborg"
openstackdocs_bug_project = "openstack-cyborg"
openstackdocs_bug_tag = "documentation"
openstackdocs_auto_name = False

html_theme = "openstackdocs"
pygments_style = "native"
