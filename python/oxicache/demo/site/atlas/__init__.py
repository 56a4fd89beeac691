"""The one app of the demo's site: continents, countries, regions and cities."""
