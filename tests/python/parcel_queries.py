"""What each kind of cached value of parcels must be: a query, given a number. Plain SQL: its readers need no Django."""

from typing import Final

__all__ = ["BY_HAND", "OF_ROWS", "QUERIES"]

OF_ROWS: Final = ("parcel", "sender", "depot")  # values of rows, which know their reader's transaction
BY_HAND: Final = ("page", "depots", "list", "slips")  # values that are got, and set on a miss
QUERIES: Final = {
    "parcel": "SELECT grams FROM parcels_parcel WHERE id = %s",
    "sender": "SELECT (SELECT COALESCE(SUM(grams), 0) FROM parcels_parcel WHERE sender_id = parcels_sender.id) "
    "FROM parcels_sender WHERE id = %s",
    "depot": "SELECT (SELECT COUNT(*) FROM parcels_stop JOIN parcels_parcel ON parcel_id = parcels_parcel.id "
    "WHERE depot_id = parcels_depot.id) FROM parcels_depot WHERE id = %s",
    "codes": "SELECT code FROM parcels_parcel WHERE sender_id = %s ORDER BY code",
    "many tags": "SELECT code, grams FROM parcels_parcel WHERE id = %s",
    "weights": "SELECT id, grams FROM parcels_parcel WHERE id >= %s ORDER BY id",
    "stops": "SELECT parcel_id FROM parcels_stop WHERE depot_id = %s ORDER BY parcel_id",
    "page": "SELECT code, grams, sender_id FROM parcels_parcel WHERE id = %s",
    "depots": "SELECT depot_id FROM parcels_stop WHERE parcel_id = %s ORDER BY depot_id",
    "list": "SELECT id FROM parcels_parcel WHERE id > %s - 10 ORDER BY id",
    "slips": "SELECT text FROM parcels_slip WHERE text LIKE %s || ':%%' ORDER BY id",
}
