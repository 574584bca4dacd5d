"""Changes of rows while the services run, on each engine."""

import json
import logging

import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.common import exception
from cyborg.db import data_migrations
from cyborg.db import models
from cyborg.tests.fixtures import records

CONTEXT = cyborg_context.get_admin_context()


@pytest.fixture
def db(cyborg_db: sa.Engine) -> sa.Engine:
    return cyborg_db


def add_arqs(db: sa.Engine, instances: list[str | None]) -> None:
    """Insert an ARQ without a project for each instance."""
    with db.begin() as connection:
        profile = records.device_profile(connection, 1, "profile")
        connection.execute(
            sa.insert(models.ARQ.__table__),
            [
                {
                    "uuid": records.uuid(number),
                    "state": "Bound",
                    "device_profile_id": profile,
                    "device_profile_group_id": 0,
                    "substate": "Initial",
                    "instance_uuid": instance,
                }
                for number, instance in enumerate(instances, 1)
            ],
        )


def projects(db: sa.Engine) -> list[str | None]:
    with db.connect() as connection:
        query = sa.select(models.ARQ.project_id).order_by(models.ARQ.id)
        return list(connection.scalars(query))


class TestFillProjectIds:
    def test_all_in_batches_and_one_question_per_instance(
        self, db: sa.Engine
    ) -> None:
        add_arqs(db, [f"instance-{n % 3}" for n in range(250)])
        asked = []

        def find_project(instance: str) -> str:
            asked.append(instance)
            return f"project of {instance}"

        outcome = data_migrations.fill_project_ids(CONTEXT, find_project)

        assert outcome == data_migrations.Outcome(migrated=250)
        assert asked == ["instance-0", "instance-1", "instance-2"]
        assert projects(db) == [
            f"project of instance-{n % 3}" for n in range(250)
        ]

    def test_unknown_and_unbound_stay(
        self, db: sa.Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        add_arqs(db, ["gone", None, "here"])
        outcome = data_migrations.fill_project_ids(
            CONTEXT, {"here": "project", "gone": None}.__getitem__
        )
        assert outcome == data_migrations.Outcome(migrated=1)
        assert projects(db) == [None, None, "project"]
        assert f"ARQ {records.uuid(1)} stays without" in caplog.text

    def test_limit_leaves_more(self, db: sa.Engine) -> None:
        add_arqs(db, ["gone", "here", "here", "here"])
        known = {"gone": None, "here": "project"}
        outcome = data_migrations.fill_project_ids(
            CONTEXT, known.__getitem__, limit=2
        )
        assert outcome == data_migrations.Outcome(migrated=2, more=True)
        outcome = data_migrations.fill_project_ids(
            CONTEXT, known.__getitem__, limit=2
        )
        assert outcome == data_migrations.Outcome(migrated=1)
        assert projects(db) == [None, "project", "project", "project"]

    def test_nova_away_keeps_what_was_done(self, db: sa.Engine) -> None:
        add_arqs(db, ["first", "second", "third"])

        def find_project(instance: str) -> str:
            if instance == "second":
                raise exception.NovaUnavailable(reason="503")
            return "project"

        outcome = data_migrations.fill_project_ids(CONTEXT, find_project)
        assert outcome == data_migrations.Outcome(migrated=1, failed=1)
        assert projects(db) == ["project", None, None]

    def test_owner_set_meanwhile_stays(self, db: sa.Engine) -> None:
        add_arqs(db, ["instance"])

        def find_project(instance: str) -> str:
            with db.begin() as connection:
                connection.execute(
                    sa.update(models.ARQ).values(project_id="newer")
                )
            return "older"

        outcome = data_migrations.fill_project_ids(CONTEXT, find_project)
        assert outcome.migrated == 0
        assert projects(db) == ["newer"]


class TestTranslateProfiles:
    RENAMED = {
        "classes": {"CUSTOM_OLD": "CUSTOM_NEW"},
        "traits": {"CUSTOM_T1": "CUSTOM_T2"},
    }

    def stored(self, db: sa.Engine) -> dict[str, object]:
        with db.connect() as connection:
            query = sa.select(
                models.DeviceProfile.name, models.DeviceProfile.profile_json
            )
            return {
                name: json.loads(text)
                for name, text in connection.execute(query)
            }

    def add(self, db: sa.Engine, profiles: dict[str, str]) -> None:
        with db.begin() as connection:
            for number, (name, text) in enumerate(profiles.items(), 1):
                records.insert(
                    connection,
                    models.DeviceProfile,
                    uuid=records.uuid(number),
                    name=name,
                    profile_json=text,
                )

    def test_names_change_and_the_rest_stays(self, db: sa.Engine) -> None:
        self.add(
            db,
            {
                "both": '{"groups": [{"resources:CUSTOM_OLD": "2", '
                '"trait:CUSTOM_T1": "required", "accel:x": "CUSTOM_OLD"}, '
                '{"resources:FPGA": "1"}]}',
                "neither": '{"groups": [{"resources:CUSTOM_OLDER": "1"}]}',
            },
        )
        outcome = data_migrations.translate_profiles(CONTEXT, **self.RENAMED)
        assert outcome == data_migrations.Outcome(migrated=1)
        assert self.stored(db) == {
            "both": {
                "groups": [
                    {
                        "resources:CUSTOM_NEW": "2",
                        "trait:CUSTOM_T2": "required",
                        "accel:x": "CUSTOM_OLD",
                    },
                    {"resources:FPGA": "1"},
                ]
            },
            "neither": {"groups": [{"resources:CUSTOM_OLDER": "1"}]},
        }
        again = data_migrations.translate_profiles(CONTEXT, **self.RENAMED)
        assert again == data_migrations.Outcome()

    def test_contradiction_is_left_to_the_operator(
        self, db: sa.Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = (
            '{"groups": [{"resources:CUSTOM_OLD": "2", '
            '"resources:CUSTOM_NEW": "1"}]}'
        )
        self.add(db, {"torn": text, "good": text.replace("CUSTOM_NEW", "X")})
        with caplog.at_level(logging.ERROR):
            outcome = data_migrations.translate_profiles(
                CONTEXT, **self.RENAMED
            )
        assert outcome == data_migrations.Outcome(migrated=1, failed=1)
        assert self.stored(db)["torn"] == json.loads(text)
        assert "torn stays as it is" in caplog.text

    def test_nothing_is_renamed_in_this_release(self, db: sa.Engine) -> None:
        self.add(db, {"broken": "not JSON"})
        assert (
            data_migrations.translate_profiles(CONTEXT)
            == data_migrations.Outcome()
        )
