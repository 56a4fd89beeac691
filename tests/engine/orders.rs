//! Orders that other threads leave, and the byte that tells of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use _native::engine::clock::{self, Source};
use _native::engine::orders::{self, Done, Order, Target};
use proptest::prelude::*;

use crate::SECOND;
use crate::clock::driver;

const NEVER: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);

fn clear() -> orders::Receipt {
    orders::post(Target::Registered, vec![Order::Clear])
}

/// Carries out what is ordered, without any cache; how many posts that were.
fn attend() -> usize {
    let mut count = 0;
    while clock::is_attention_asked() {
        while let Some(posted) = orders::take() {
            posted.answer(Done::default());
            count += 1;
        }
        orders::rest();
    }
    count
}

/// An order asks for attention until it was taken and the taker says that he rests; the source of time stays what it is.
#[test]
fn an_order_asks_for_attention() {
    let _driver = driver();
    assert_eq!(clock::ready(), Some(Source::System));
    let receipt = clear();
    assert!(clock::is_attention_asked());
    assert_eq!((clock::ready(), clock::source()), (None, Source::System));
    clock::drive(3 * SECOND);
    assert_eq!((clock::ready(), clock::source()), (None, Source::Driven));
    assert_eq!(clock::now().at(), 3 * SECOND);
    assert!(!orders::rest(), "an order was still waiting");
    assert_eq!(receipt.wait(NEVER), None);
    let posted = orders::take().expect("the order");
    assert_eq!(posted.orders, [Order::Clear]);
    assert_eq!(posted.target, Target::Registered);
    let counts = vec![("books".to_owned(), vec![Some(3), None])];
    posted.answer(Done { counts });
    assert!(orders::rest());
    assert_eq!(clock::ready(), Some(Source::Driven));
    assert_eq!(receipt.wait(NEVER).map(|done| done.total()), Some(3));
}

/// Attention may be asked for without an order; it ends when whoever gave it rests.
#[test]
fn attention_may_be_asked_for_alone() {
    let _driver = driver();
    orders::ask();
    assert_eq!(clock::ready(), None);
    assert!(orders::take().is_none());
    assert!(orders::rest());
    assert_eq!(clock::ready(), Some(Source::System));
}

/// Disabling is seen at once and orders everything away, once; enabling orders nothing.
#[test]
fn disabling_orders_everything_away() {
    let _driver = driver();
    assert!(!clock::is_disabled());
    orders::enable();
    let receipt = orders::disable().expect("a change");
    assert!(clock::is_disabled());
    assert_eq!(clock::ready(), None);
    assert!(orders::disable().is_none());
    let posted = orders::take().expect("the order");
    assert_eq!(posted.target, Target::Everything);
    assert_eq!(posted.orders, [Order::Clear]);
    posted.answer(Done::default());
    assert!(orders::rest());
    assert_eq!(receipt.wait(NEVER), Some(Done::default()));
    assert_eq!(clock::ready(), None, "disabled is to be heeded, too");
    orders::enable();
    assert_eq!(clock::ready(), Some(Source::System));
}

/// Whoever waits is told as soon as his order was carried out, by another thread too.
#[test]
fn a_poster_may_wait() {
    let _driver = driver();
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let receipt = clear();
            start.wait();
            receipt.wait(LONG)
        });
        start.wait();
        assert_eq!(attend(), 1);
        assert_eq!(waiting.join().expect("no panic"), Some(Done::default()));
    });
}

/// A post is waiting until it is answered, or its taker forgets it; whoever asks no more is not waited for.
#[test]
fn posts_wait_until_they_are_answered() {
    let _driver = driver();
    assert_eq!(orders::waiting(), 0);
    let (first, second) = (clear(), clear());
    assert_eq!(orders::waiting(), 2);
    let taken = orders::take().expect("the first");
    assert!(taken.is_awaited());
    assert_eq!(orders::waiting(), 2, "taking is not carrying out");
    drop(first);
    assert!(!taken.is_awaited());
    taken.answer(Done::default());
    assert_eq!(orders::waiting(), 1);
    drop(orders::take());
    assert_eq!(orders::waiting(), 0);
    assert_eq!(second.wait(NEVER), None);
    assert!(orders::rest());
}

/// No order is lost, whoever posts while others attend and rest: each of them is answered without a later wake-up.
#[test]
fn no_wake_up_is_lost() {
    const POSTERS: usize = 3;
    const EACH: usize = 2_000;
    let _driver = driver();
    let is_over = AtomicBool::new(false);
    let count = thread::scope(|scope| {
        let attending = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Acquire) {
                count += attend();
                thread::yield_now();
            }
            count
        });
        let posters: Vec<_> = (0..POSTERS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        assert!(clear().wait(LONG).is_some(), "an order was slept over");
                    }
                })
            })
            .collect();
        for poster in posters {
            poster.join().expect("no panic");
        }
        is_over.store(true, Ordering::Release);
        attending.join().expect("no panic")
    });
    assert_eq!(count, POSTERS * EACH);
}

#[derive(Clone, Debug)]
enum Step {
    Post(u8),
    Ask,
    Take,
    Rest,
    Enable(bool),
    Drive(i64),
    System,
    External,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<u8>().prop_map(Step::Post),
        1 => Just(Step::Ask),
        4 => Just(Step::Take),
        2 => Just(Step::Rest),
        1 => any::<bool>().prop_map(Step::Enable),
        1 => (-9..9_i64).prop_map(Step::Drive),
        1 => Just(Step::System),
        1 => Just(Step::External),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Orders come out as they went in, attention is asked for as long as there are any, and nothing else moves the clock.
    // Long because it is one arm for each step.
    #[test]
    fn the_queue_is_a_queue(steps in steps()) {
        let _driver = driver();
        let mut waiting = std::collections::VecDeque::new();
        let (mut is_asked, mut is_disabled, mut source) = (false, false, Source::System);
        for step in steps {
            match step {
                Step::Post(number) => {
                    let orders = vec![Order::Key(number.to_string())];
                    waiting.push_back((orders.clone(), orders::post(Target::Registered, orders)));
                    is_asked = true;
                }
                Step::Ask => {
                    orders::ask();
                    is_asked = true;
                }
                Step::Take => match (orders::take(), waiting.pop_front()) {
                    (Some(posted), Some((orders, receipt))) => {
                        prop_assert_eq!(&posted.orders, &orders);
                        prop_assert_eq!(receipt.wait(NEVER), None);
                        posted.answer(Done::default());
                        prop_assert_eq!(receipt.wait(NEVER), Some(Done::default()));
                    }
                    (None, None) => {}
                    other => prop_assert!(false, "{other:?}"),
                },
                Step::Rest => {
                    prop_assert_eq!(orders::rest(), waiting.is_empty());
                    is_asked &= !waiting.is_empty();
                }
                Step::Enable(on) => {
                    if on {
                        orders::enable();
                    } else if let Some(receipt) = orders::disable() {
                        prop_assert!(!is_disabled);
                        waiting.push_back((vec![Order::Clear], receipt));
                        is_asked = true;
                    } else {
                        prop_assert!(is_disabled);
                    }
                    is_disabled = !on;
                }
                Step::Drive(at) => {
                    clock::drive(at);
                    source = Source::Driven;
                }
                Step::System => {
                    clock::system();
                    source = Source::System;
                }
                Step::External => {
                    clock::external();
                    source = Source::External;
                }
            }
            prop_assert_eq!(orders::waiting(), waiting.len());
            prop_assert_eq!(clock::is_attention_asked(), is_asked);
            prop_assert_eq!(clock::is_disabled(), is_disabled);
            prop_assert_eq!(clock::source(), source);
            prop_assert_eq!(clock::ready(), (!is_asked && !is_disabled).then_some(source));
        }
        orders::enable();
        attend();
        prop_assert_eq!(orders::waiting(), 0);
    }
}
