"""Sphinx configuration of the reference of the REST API."""

from importlib import metadata
import pathlib

from cyborg.api import reference

extensions = ["openstackdocstheme", "os_api_ref"]

project = "Accelerator API Reference"
copyright = "OpenStack Foundation"
openstackdocs_repo_name = "openstack/cyborg"
openstackdocs_bug_project = "openstack-cyborg"
openstackdocs_bug_tag = "api-ref"
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = release = metadata.version("openstack-cyborg")

html_theme = "openstackdocs"
html_theme_options = {"sidebar_mode": "toc"}
pygments_style = "native"

reference.write(pathlib.Path(__file__).parent / "answers")
