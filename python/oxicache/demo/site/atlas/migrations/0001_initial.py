"""The first tables of the atlas."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Continents, countries, regions, cities, and the record of a load."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="City",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("latitude", models.FloatField(db_index=True)),
                ("longitude", models.FloatField()),
                ("population", models.IntegerField(db_index=True)),
                ("time_zone", models.CharField(max_length=40)),
            ],
            options={
                "verbose_name_plural": "cities",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Continent",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=2, unique=True)),
                ("name", models.CharField(max_length=40)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Load",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.CharField(max_length=200)),
                ("finished_at", models.DateTimeField(auto_now_add=True)),
                ("continents", models.IntegerField()),
                ("countries", models.IntegerField()),
                ("regions", models.IntegerField()),
                ("cities", models.IntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Country",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("iso", models.CharField(max_length=2, unique=True)),
                ("name", models.CharField(max_length=80)),
                ("population", models.BigIntegerField()),
                ("area_km2", models.FloatField()),
                ("currency", models.CharField(max_length=40)),
                (
                    "capital",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="capital_of",
                        to="atlas.city",
                    ),
                ),
                (
                    "continent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="countries",
                        to="atlas.continent",
                    ),
                ),
                ("neighbours", models.ManyToManyField(to="atlas.country")),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="city",
            name="country",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="cities", to="atlas.country"
            ),
        ),
        migrations.CreateModel(
            name="Region",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=10)),
                ("name", models.CharField(max_length=100)),
                (
                    "country",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="regions",
                        to="atlas.country",
                    ),
                ),
            ],
            options={
                "ordering": ("code",),
            },
        ),
        migrations.AddField(
            model_name="city",
            name="region",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="cities",
                to="atlas.region",
            ),
        ),
        migrations.AddConstraint(
            model_name="region",
            constraint=models.UniqueConstraint(fields=("country", "code"), name="region_code_in_country"),
        ),
    )
