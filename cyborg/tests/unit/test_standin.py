"""Stand-ins that differ from what they stand for are refused."""

import pytest

from cyborg.tests.fixtures import standin


class Real:
    def load(self, host: str, *, image: str) -> None:
        """Has parameters."""


def test_the_same_or_anything_is_taken() -> None:
    @standin.of(Real)
    class Same:
        def load(self, host, *, image):
            """Takes the same."""

        def _helper(self, anything):
            """Nobody else calls this."""

    @standin.of(Real)
    class Anything:
        def load(self, *args, **kwargs):
            """Takes whatever comes."""


def test_what_differs_is_refused() -> None:
    with pytest.raises(TypeError, match="bitstream"):

        @standin.of(Real)
        class OtherName:
            def load(self, host, *, bitstream):
                """The real one would fail."""

    with pytest.raises(TypeError, match="load"):

        @standin.of(Real)
        class Positional:
            def load(self, host, image):
                """The real one takes keywords only."""

    with pytest.raises(AttributeError, match="unload"):

        @standin.of(Real)
        class Other:
            def unload(self, host):
                """The real one has no such method."""
