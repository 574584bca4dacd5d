"""Sphinx configuration of the release notes."""

extensions = ["openstackdocstheme", "reno.sphinxext"]

project = "Cyborg Release Notes"
copyright = "OpenStack Foundation"
openstackdocs_repo_name = "openstack/cyborg"
openstackdocs_bug_project = "openstack-cyborg"
openstackdocs_auto_name = False
openstackdocs_auto_version = False

html_theme = "openstackdocs"
pygments_style = "native"
