//! Caches by name.

use std::sync::Arc;

use _native::engine::{Adopted, CacheManager, Error};

/// The first cache under a name is kept; a later one comes back to its owner.
#[test]
fn the_first_cache_keeps_its_name() {
    let manager = CacheManager::new();
    assert_eq!(manager.adopt("users", 1), Ok(Adopted::New(1)));
    assert_eq!(
        manager.adopt("users", 2),
        Ok(Adopted::Existing {
            kept: 1,
            refused: 2
        })
    );
    assert_eq!(
        (manager.get("users"), manager.get("other"), manager.len()),
        (Some(1), None, 1)
    );
}

/// The name of the totals is refused, however a cache is registered.
#[test]
fn the_name_of_the_totals_is_refused() {
    let manager = CacheManager::new();
    let refused = Error::ReservedName {
        name: "_global".to_owned(),
    };
    assert_eq!(manager.adopt("_global", 1), Err(refused.clone()));
    assert_eq!(manager.register("_global", 1, |_| false), Err(refused));
    assert!(manager.is_empty());
}

/// A taken name is numbered from 2; a cache that is registered keeps the name it has.
#[test]
fn registering_numbers_taken_names() {
    let manager = CacheManager::new();
    let register = |cache: i32| manager.register("f", cache, |known| *known == cache);
    assert_eq!(register(1).as_deref(), Ok("f"));
    assert_eq!(register(2).as_deref(), Ok("f#2"));
    assert_eq!(register(3).as_deref(), Ok("f#3"));
    assert_eq!(register(2).as_deref(), Ok("f#2"));
    assert_eq!(manager.remove("f#2", |_| true), Some(2));
    assert_eq!(register(4).as_deref(), Ok("f#2"));
    assert_eq!(manager.names(), ["f", "f#3", "f#2"]);
}

/// Removing takes the cache that is meant, or none.
#[test]
fn removing_asks_which_cache_is_meant() {
    let manager = CacheManager::new();
    let (kept, other) = (Arc::new(1), Arc::new(1));
    assert!(manager.adopt("a", kept.clone()).is_ok());
    assert_eq!(
        manager.remove("a", |cache| Arc::ptr_eq(cache, &other)),
        None
    );
    assert_eq!(manager.remove("b", |_| true), None);
    assert_eq!(
        manager.remove("a", |cache| Arc::ptr_eq(cache, &kept)),
        Some(kept)
    );
    assert!(manager.is_empty());
}

/// Names and snapshots list caches in the order of their registration.
#[test]
fn caches_are_listed_in_order() {
    let manager = CacheManager::new();
    for name in ["z", "a", "m"] {
        assert!(manager.adopt(name, name.len()).is_ok());
    }
    assert_eq!(manager.names(), ["z", "a", "m"]);
    let snapshot = manager.snapshot();
    assert_eq!(
        snapshot,
        [
            ("z".to_owned(), 1),
            ("a".to_owned(), 1),
            ("m".to_owned(), 1)
        ]
    );
}

/// A cache refused by `register` is dropped after the lock is gone: its drop may use the manager.
#[test]
fn a_refused_cache_may_use_the_manager_when_dropped() {
    #[derive(Clone)]
    struct Curious(Arc<CacheManager<Option<Curious>>>);
    impl Drop for Curious {
        fn drop(&mut self) {
            let _ = self.0.len();
        }
    }
    let manager = Arc::new(CacheManager::new());
    assert!(manager.adopt("a", None).is_ok());
    let name = manager.register("b", Some(Curious(manager.clone())), |_| true);
    assert_eq!(name.as_deref(), Ok("a"));
}
