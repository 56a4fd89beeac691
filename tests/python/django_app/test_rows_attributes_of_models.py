"""Attributes of real models, which hits read where CPython keeps them; made-up ones are in test_rows_attributes.py."""

from pathlib import Path

from users_site import Site


class TestPlaces:
    def test_states_keep_their_attributes_in_place_however_many_came_before(self, tmp_path: Path) -> None:
        """A process that first makes unsaved instances reads rows as fast as another: no state gets a dict."""
        source = """
        import gc
        from django.db.models.base import ModelState
        from project.catalogue.models import Book

        unsaved = [Book() for _ in range(100)]
        state = ModelState()
        state.adding = False
        state.db = "default"
        print([type(held).__name__ for held in gc.get_referents(state) if held is not ModelState])
        """
        assert Site(tmp_path).python(source) == "['bool', 'str']\n"
