import configparser
import os

from pbr import packaging
import setuptools

config = configparser.ConfigParser()
config.read("setup.cfg")
try:
    packaging.get_version(config["metadata"]["name"])
except Exception:
    # Neither a clone that git can read nor a source distribution: an archive
    # of the tree. pbr gives up on it unless it is told the version.
    os.environ["PBR_VERSION"] = config["metadata"]["version"]

setuptools.setup(pbr=True)
