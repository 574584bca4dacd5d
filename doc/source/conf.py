"""Sphinx configuration of the documentation."""

from importlib import metadata

extensions = [
    "openstackdocstheme",
    "oslo_config.sphinxconfiggen",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "oslo_policy.sphinxpolicygen",
]

# Samples, written into _static before the pages are read.
config_generator_config_file = [
    ("../../tools/config/cyborg-config-generator.conf", "_static/cyborg"),
]
policy_generator_config_file = "../../tools/config/cyborg-policy-generator.conf"
sample_policy_basename = "_static/cyborg"

exclude_patterns = ["_diagrams"]

project = "Cyborg"
copyright = "OpenStack Foundation"
openstackdocs_repo_name = "openstack/cyborg"
openstackdocs_bug_project = "openstack-cyborg"
openstackdocs_bug_tag = "documentation"
openstackdocs_auto_name = False
# The theme would ask git, which has no tag to tell.
openstackdocs_auto_version = False
version = release = metadata.version("openstack-cyborg")

html_theme = "openstackdocs"
pygments_style = "native"
