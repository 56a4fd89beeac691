//! What a caller can get wrong.

use _native::engine::{Error, Limits};

/// Every error is a sentence that names the value and what to do instead.
#[test]
fn errors_are_sentences_with_a_remedy() {
    for error in Error::all_examples() {
        let text = error.to_string();
        let value = match &error {
            Error::TooLarge { value, limit } => {
                assert!(text.contains(&limit.to_string()), "{text}");
                value.to_string()
            }
            Error::BadSeconds { value } | Error::BadEarlyRefresh { value } => value.to_string(),
            Error::ReservedName { name } => name.clone(),
            Error::BadPattern {
                pattern, reason, ..
            } => {
                assert!(text.contains(reason), "{text} does not say why");
                pattern.clone()
            }
            other => panic!("{other:?} is not covered here"),
        };
        assert!(text.contains(&value), "{text} does not name {value}");
        assert!(
            text.contains("give ") && text.ends_with('.'),
            "{text} names no remedy"
        );
    }
}

/// Each variant has an example, so that the walk above is complete.
#[test]
fn every_error_has_an_example() {
    let mut kinds: Vec<_> = Error::all_examples()
        .iter()
        .map(std::mem::discriminant)
        .collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 5);
}

/// Limits that no table can have are refused with the value and the limit.
#[test]
fn impossible_limits_are_refused() {
    let limit = 4_294_967_292;
    assert!(Limits::new(limit).validated().is_ok());
    assert_eq!(
        Limits::new(limit + 1).validated(),
        Err(Error::TooLarge {
            value: limit + 1,
            limit
        })
    );
    for beta in [-0.5, f64::INFINITY, f64::NAN] {
        let limits = Limits {
            early_refresh: beta,
            ..Limits::new(1)
        };
        assert!(
            matches!(limits.validated(), Err(Error::BadEarlyRefresh { .. })),
            "{beta} passed"
        );
    }
}
