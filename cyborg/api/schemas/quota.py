"""Queries about quotas."""

from cyborg.api import versions
from cyborg.api.schemas import common

INDEX = {versions.RESOURCES: common.query({"project_id": common.NAME})}
