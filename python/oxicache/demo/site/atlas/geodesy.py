"""Distances on the Earth: a quick one on a sphere, and an exact one on the WGS-84 ellipsoid.

The exact one is the inverse solution of T. Vincenty, "Direct and inverse solutions of geodesics on the ellipsoid",
Survey Review 23 (176), 1975: an iteration, hence worth keeping.
"""

from math import asin, atan2, cos, isclose, radians, sin, sqrt, tan

from oxicache import cached_function

MEAN_RADIUS_KM = 6371.0088  # IUGG mean radius of the Earth
EQUATOR_KM = 6378.137  # WGS-84 semi-major axis
FLATTENING = 1 / 298.257223563  # WGS-84
POLE_KM = EQUATOR_KM * (1 - FLATTENING)
SETTLED = 1e-12  # radians: less than a hundredth of a millimetre
MAX_STEPS = 50  # converges in under ten except for nearly antipodal points, where it may never do


def haversine_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Return the distance on a sphere: within half a percent of the true one."""
    phi1, phi2 = radians(lat1), radians(lat2)
    half = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * MEAN_RADIUS_KM * asin(sqrt(min(1.0, half)))


@cached_function(ttl=None, max_size=50_000)
def geodesic_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Return the distance on the ellipsoid; on the sphere for the rare pair where the iteration does not settle.

    Cached for ever: neither the formula nor the Earth changes.
    """
    if isclose(lat1, lat2) and isclose(lon1, lon2):
        return 0.0
    u1, u2 = (atan2((1 - FLATTENING) * tan(radians(lat)), 1.0) for lat in (lat1, lat2))
    sin1, cos1, sin2, cos2 = sin(u1), cos(u1), sin(u2), cos(u2)
    difference = radians(lon2 - lon1)
    longitude = difference
    for _ in range(MAX_STEPS):
        sin_sigma = sqrt((cos2 * sin(longitude)) ** 2 + (cos1 * sin2 - sin1 * cos2 * cos(longitude)) ** 2)
        if (
            sin_sigma == 0.0
        ):  # exactly antipodal: every direction is as short, and the next line would divide by it
            return haversine_km(lat1, lon1, lat2, lon2)
        cos_sigma = sin1 * sin2 + cos1 * cos2 * cos(longitude)
        sigma = atan2(sin_sigma, cos_sigma)
        sin_alpha = cos1 * cos2 * sin(longitude) / sin_sigma
        cos2_alpha = 1 - sin_alpha**2
        cos_mid = cos_sigma - 2 * sin1 * sin2 / cos2_alpha if cos2_alpha else 0.0
        c = FLATTENING / 16 * cos2_alpha * (4 + FLATTENING * (4 - 3 * cos2_alpha))
        before = longitude
        longitude = difference + (1 - c) * FLATTENING * sin_alpha * (
            sigma + c * sin_sigma * (cos_mid + c * cos_sigma * (2 * cos_mid**2 - 1))
        )
        if abs(longitude - before) < SETTLED:
            break
    else:
        return haversine_km(lat1, lon1, lat2, lon2)
    u_sq = cos2_alpha * (EQUATOR_KM**2 - POLE_KM**2) / POLE_KM**2
    a = 1 + u_sq / 16384 * (4096 + u_sq * (-768 + u_sq * (320 - 175 * u_sq)))
    b = u_sq / 1024 * (256 + u_sq * (-128 + u_sq * (74 - 47 * u_sq)))
    shift = (
        b
        * sin_sigma
        * (
            cos_mid
            + b
            / 4
            * (
                cos_sigma * (2 * cos_mid**2 - 1)
                - b / 6 * cos_mid * (4 * sin_sigma**2 - 3) * (4 * cos_mid**2 - 3)
            )
        )
    )
    return POLE_KM * a * (sigma - shift)
