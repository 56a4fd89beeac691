"""Examples of document 000 (akvo), as they are printed, that more than one test file runs."""

PROCESS_LARGE_DATASET = """
from akvo.rsr.cache_management import cache_manager

def process_large_dataset(queryset):
    \"\"\"Process large dataset with memory protection\"\"\"

    # Use dedicated cache for this operation
    process_cache = cache_manager.get_cache(
        'large_dataset_processing',
        max_size=500,
        ttl=600  # 10 minutes
    )

    # Process in chunks to avoid memory exhaustion
    chunk_size = 1000
    processed_count = 0

    for chunk_start in range(0, queryset.count(), chunk_size):
        chunk = queryset[chunk_start:chunk_start + chunk_size]

        for item in chunk:
            # Check cache first
            cache_key = f"processed_{item.id}"
            result = process_cache.get(cache_key)

            if result is None:
                result = expensive_processing(item)
                process_cache.set(cache_key, result)

            yield result

        processed_count += len(chunk)

        # Log progress for monitoring
        if processed_count % 5000 == 0:
            logger.info(f"Processed {processed_count} items")
"""

WARM_CRITICAL_CACHES = """
from akvo.rsr.cache_management import cache_manager

def warm_critical_caches():
    \"\"\"Pre-populate critical caches during low-traffic periods\"\"\"

    # Get commonly used cache
    project_cache = cache_manager.get_cache('project_aggregations')

    # Pre-compute for active projects
    active_projects = Project.objects.filter(status='A')[:100]

    for project in active_projects:
        cache_key = f"project_stats_{project.id}"
        if project_cache.get(cache_key) is None:
            stats = compute_project_statistics(project)
            project_cache.set(cache_key, stats)
"""
