"""Random hierarchies, circles included, walked down beside a few lines of Python that do the same."""

from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st
from profiles import MODEL
from project.programmes.models import Programme
from sessions import rolled_back

from oxicache.django.hierarchy import aggregate_upwards, descendants

# parents[n] is the node above node n, if there is one: trees, forests, circles, nodes above themselves.
parents = st.lists(st.none() | st.integers(0, 11), min_size=12, max_size=12)


def planted(above: list[int | None]) -> list[Programme]:
    nodes = Programme.objects.bulk_create(Programme(title=str(number)) for number in range(len(above)))
    for node, parent in zip(nodes, above, strict=True):
        node.parent = None if parent is None else nodes[parent]
    Programme.objects.bulk_update(nodes, ["parent"])
    return nodes


def levels(above: list[int | None], root: int, max_depth: int | None) -> list[set[int]]:
    """What is below `root`, level by level."""
    seen, level, found = {root}, {root}, []
    while level and (max_depth is None or len(found) < max_depth):
        level = {node for node, parent in enumerate(above) if parent in level} - seen
        seen |= level
        found.append(level)
    return [level for level in found if level]


@MODEL
@given(
    above=parents,
    max_rows=st.integers(1, 13),
    max_depth=st.none() | st.integers(1, 13),
    size=st.integers(1, 13),
)
def test_a_walk_finds_what_is_below(
    above: list[int | None], max_rows: int, max_depth: int | None, size: int
) -> None:
    """The first max_rows of what is below, level by level, each once; truncated only where there are more."""
    with rolled_back(), transaction.atomic():
        nodes = planted(above)
        walk = descendants(nodes[0], max_rows=max_rows, max_depth=max_depth, size=size)
        chunks = list(walk.chunks())
        found = [int(node.title) for chunk in chunks for node in chunk]
    expected = levels(above, 0, max_depth)
    count = sum(len(level) for level in expected)
    assert all(0 < len(chunk) <= size for chunk in chunks)
    assert len(found) == len(set(found)) == walk.count == min(count, max_rows)
    assert walk.is_truncated is (count > max_rows)
    place = 0
    for level in expected:
        part = set(found[place : place + len(level)])
        assert part <= level
        place += len(level)
    if not walk.is_truncated:
        assert walk.depth == len(expected)
        assert walk.total_processed == count


@MODEL
@given(above=parents, max_depth=st.integers(1, 13))
def test_a_climb_computes_each_ancestor_once(above: list[int | None], max_depth: int) -> None:
    """From the node to the top, or to where it was; circular only where it got there, truncated only where not."""
    way: list[int] = []
    node: int | None = 0
    while node is not None and node not in way:
        way.append(node)
        node = above[node]
    with rolled_back(), transaction.atomic():
        planted(above)
        first = Programme.objects.get(title="0")
        seen: list[int] = []
        report = aggregate_upwards(first, lambda found: seen.append(int(found.title)), max_depth=max_depth)
    assert seen == way[:max_depth]
    assert report.is_truncated is (len(way) > max_depth)
    assert report.is_circular is (node is not None and len(way) <= max_depth)
