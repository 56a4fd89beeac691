//! The only Rust that knows Python: convert, lock, call, convert back.

mod args;
mod attend;
mod backend;
mod backend_key;
mod backend_settings;
mod bites;
mod cache;
mod callbacks;
mod clock;
mod compiled;
mod control;
mod deletions;
mod error;
mod fastcall;
mod forgetting;
mod gil_lock;
mod graveyard;
mod keys;
mod manager;
mod matching;
mod memo;
mod memo_key;
mod metrics;
mod native_store;
mod outdating;
mod outside;
mod owners;
mod pattern;
mod plan;
mod renounced;
mod rows;
mod shared;
mod spelling;
mod store_methods;
mod tokens;
mod tracked;
mod tracker_views;
mod typed;
mod values;
mod versions;
mod views;
mod walk;
mod words;

use pyo3::prelude::*;

/// The Rust half of oxicache. The contract is `python/oxicache/_native.pyi`.
#[pymodule(gil_used = false)]
mod _native {
    use super::{attend, deletions, fastcall, keys, manager, tracker_views, values, views};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::cache::{PyTtlCache, set_default_cleanup_interval, set_loader};

    #[pymodule_export]
    use super::args::set_defaults;

    #[pymodule_export]
    use super::attend::{attend_now, is_enabled, set_enabled};

    #[pymodule_export]
    use super::walk::{entries, inspect};

    #[pymodule_export]
    use super::backend::{BackendBase, set_backend_module};

    #[pymodule_export]
    use super::backend_key::BackendKey;

    #[pymodule_export]
    use super::native_store::NativeStore;

    #[pymodule_export]
    use super::tokens::{set_task_of, tokens_forget};

    #[pymodule_export]
    use super::clock::{clock_drive, clock_follow, clock_system, now_seconds};

    #[pymodule_export]
    use super::control::{
        control_answer, control_ask, control_describe, control_orders, control_start,
        control_state, control_stop,
    };

    #[pymodule_export]
    use super::deletions::PyDeletionTracker;

    #[pymodule_export]
    use super::forgetting::forget_named;

    #[pymodule_export]
    use super::keys::Missing;

    #[pymodule_export]
    use super::manager::PyCacheManager;

    #[pymodule_export]
    use super::memo::{Memo, MemoProperty};

    #[pymodule_export]
    use super::memo_key::MemoKey;

    #[pymodule_export]
    use super::metrics::{key_pattern, pattern_stats, process_metrics};

    #[pymodule_export]
    use super::pattern::KeyPattern;

    #[pymodule_export]
    use super::rows::{row_bypassing, set_row_bypass, set_row_scope, set_row_types};

    #[pymodule_export]
    use super::versions::{
        Stamps, bump, capture, versions_keep_private, versions_refresh, versions_share,
        versions_state,
    };

    #[pymodule_export]
    use super::values::set_text_type;

    #[pymodule_export]
    use super::views::{DeadlinesView, EntriesView};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        // Level checks go to Python each time: all messages are rare, and levels are changed while workers run.
        // A second import in one process finds the logger installed; that is not an error.
        let _ = pyo3_log::Logger::new(py, pyo3_log::Caching::Loggers)?.install();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("MISSING", keys::missing(py))?;
        module.add("cache_manager", manager::PyCacheManager::process_wide())?;
        module.add("DELETION_SET", deletions::PyDeletionTracker::new(py)?)?;
        views::complete(
            &py.get_type::<views::EntriesView>(),
            "MutableMapping",
            views::MAPPING_METHODS,
        )?;
        views::complete(
            &py.get_type::<views::DeadlinesView>(),
            "MutableMapping",
            views::MAPPING_METHODS,
        )?;
        views::complete(
            &py.get_type::<manager::CachesView>(),
            "MutableMapping",
            tracker_views::MAPPING_METHODS,
        )?;
        views::complete(
            &py.get_type::<tracker_views::TimestampsView>(),
            "MutableMapping",
            tracker_views::MAPPING_METHODS,
        )?;
        views::complete(
            &py.get_type::<tracker_views::DeletionSetView>(),
            "MutableSet",
            tracker_views::SET_METHODS,
        )?;
        values::install(module)?;
        attend::install(module)?;
        fastcall::install(module)
    }
}
