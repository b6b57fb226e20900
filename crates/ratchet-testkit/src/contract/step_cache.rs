use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    history::sha256_hex,
    ids::{Digest, StepId, StepKey},
    output::{BlobRef, Output},
};
use ratchet_engine::ports::{
    Entry, EntryFilter, EntryName, Lease, Leased, Looked, Published, StepCache, UseFilter, Used,
};

use crate::builders::{kept_result, step_key, time, use_of};

/// A cache under test, and what damages the entry of a name behind its back.
pub type CacheUnderTest = (Arc<dyn StepCache>, Box<dyn Fn(&EntryName) + Send + Sync>);

/// Every sentence of the contract of [`StepCache`]. `make` gives an empty cache each time, with a bound of bytes where one is said.
pub async fn step_cache(make: impl AsyncFn(Option<u64>) -> CacheUnderTest) {
    an_entry_comes_back_as_it_was_published(make(None).await.0).await;
    the_first_valid_publish_stays(make(None).await.0).await;
    an_attempt_publishes_once(make(None).await.0).await;
    an_entry_has_its_time(make(None).await.0).await;
    a_damaged_entry_is_removed_and_told(make(None).await).await;
    one_of_many_gets_the_lease(make(None).await.0).await;
    a_lease_is_taken_over_by_its_name(make(None).await.0).await;
    no_lease_where_an_entry_is(make(None).await.0).await;
    a_withdrawn_result_stays_away(make(None).await.0).await;
    a_result_is_confirmed(make(None).await.0).await;
    entries_are_selected(make(None).await.0).await;
    entries_come_by_page(make(None).await.0).await;
    the_longest_unused_go_first(make(Some(250)).await.0).await;
    uses_are_counted_once_and_outlive_entries(make(None).await.0).await;
}

fn name(key: &str) -> EntryName {
    EntryName { scope: "w".to_owned(), key: Digest::new(sha256_hex(key.as_bytes())) }
}

/// What a step made under a key, at a second.
fn entry(key: &str, run: &str, second: i64) -> Entry {
    let blob = BlobRef { digest: Digest::new(sha256_hex(b"x")), size: 1 };
    Entry { created_at: time(second), ..kept_result(key, run, Output::Stored(blob)) }
}

fn hit(entry: &Entry, run: &str, second: i64) -> Used {
    Used { step: step_key(run, 1, "s"), at: time(second), hit: true, ..use_of(entry) }
}

fn lease(run: &str, second: i64) -> Lease {
    Lease { holder: step_key(run, 1, "s"), attempt: 1, taken_at: time(second), until: time(second + 60) }
}

async fn publish(cache: &Arc<dyn StepCache>, entry: &Entry) -> Published {
    cache.publish(entry.clone(), use_of(entry), false).await.expect("the cache answers")
}

async fn get(cache: &Arc<dyn StepCache>, key: &str, second: i64) -> Looked {
    cache.get(&name(key), time(second)).await.expect("the cache answers")
}

async fn is_there(cache: &Arc<dyn StepCache>, key: &str) -> bool {
    matches!(get(cache, key, 1000).await, Looked::Entry(_))
}

async fn an_entry_comes_back_as_it_was_published(cache: Arc<dyn StepCache>) {
    assert_eq!(get(&cache, "k", 1).await, Looked::Absent);
    let made = entry("k", "a", 1);
    assert_eq!(publish(&cache, &made).await, Published::Kept);
    assert_eq!(get(&cache, "k", 2).await, Looked::Entry(Box::new(made.clone())));
    let other = EntryName { scope: String::new(), ..name("k") };
    assert_eq!(cache.get(&other, time(2)).await.expect("an answer"), Looked::Absent, "another scope shares nothing");
    assert!(cache.remove(&made.name).await.expect("an answer") && !cache.remove(&made.name).await.expect("an answer"));
    assert_eq!(get(&cache, "k", 3).await, Looked::Absent);
}

async fn the_first_valid_publish_stays(cache: Arc<dyn StepCache>) {
    let (first, second) = (entry("k", "a", 1), entry("k", "b", 2));
    publish(&cache, &first).await;
    assert_eq!(publish(&cache, &second).await, Published::Passed);
    assert_eq!(get(&cache, "k", 3).await, Looked::Entry(Box::new(first)));
    let third = entry("k", "c", 3);
    let replaced = cache.publish(third.clone(), use_of(&third), true).await.expect("an answer");
    assert_eq!((replaced, get(&cache, "k", 4).await), (Published::Kept, Looked::Entry(Box::new(third))));
    let racing = (0..8).map(|number| {
        let (cache, entry) = (cache.clone(), entry("race", &format!("r{number}"), 1));
        tokio::spawn(async move { publish(&cache, &entry).await })
    });
    let mut kept = 0;
    for publish in racing.collect::<Vec<_>>() {
        kept += u32::from(publish.await.expect("no panic") == Published::Kept);
    }
    assert_eq!(kept, 1, "of those that race one is first");
}

async fn an_attempt_publishes_once(cache: Arc<dyn StepCache>) {
    let made = entry("k", "a", 1);
    publish(&cache, &made).await;
    cache.remove(&made.name).await.expect("an answer");
    assert_eq!(publish(&cache, &made).await, Published::Passed, "the same report again");
    assert!(!is_there(&cache, "k").await);
}

async fn an_entry_has_its_time(cache: Arc<dyn StepCache>) {
    let made = Entry { expires_at: Some(time(10)), ..entry("k", "a", 1) };
    publish(&cache, &made).await;
    assert!(matches!(get(&cache, "k", 9).await, Looked::Entry(_)));
    assert_eq!((get(&cache, "k", 10).await, get(&cache, "k", 10).await), (Looked::Expired, Looked::Absent));
    publish(&cache, &Entry { expires_at: Some(time(20)), ..entry("k", "b", 11) }).await;
    assert_eq!(publish(&cache, &entry("k", "c", 20)).await, Published::Kept, "what has had its time stands in no way");
}

async fn a_damaged_entry_is_removed_and_told((cache, damage): CacheUnderTest) {
    publish(&cache, &entry("k", "a", 1)).await;
    damage(&name("k"));
    let listed = cache.entries(&EntryFilter::default(), None, 10).await.expect("an answer").rows;
    assert!(matches!(&*listed, [one] if one.entry.is_err()), "a look does not remove it");
    assert!(matches!(get(&cache, "k", 2).await, Looked::Damaged(_)));
    assert_eq!(get(&cache, "k", 2).await, Looked::Absent);
    assert_eq!(publish(&cache, &entry("k", "b", 3)).await, Published::Kept);
    damage(&name("k"));
    assert_eq!(publish(&cache, &entry("k", "c", 3)).await, Published::Kept, "what is damaged stands in no way");
}

async fn one_of_many_gets_the_lease(cache: Arc<dyn StepCache>) {
    let racing = (0..8).map(|number| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.lease(&name("k"), lease(&format!("r{number}"), 1), None).await })
    });
    let mut answers = Vec::new();
    for answer in racing.collect::<Vec<_>>() {
        answers.push(answer.await.expect("no panic").expect("an answer"));
    }
    assert_eq!(answers.iter().filter(|answer| **answer == Leased::Taken).count(), 1);
    let Some(Leased::Held(held)) = answers.into_iter().find(|answer| *answer != Leased::Taken) else {
        panic!("the others are told who holds it");
    };
    assert_eq!(cache.lease(&name("k"), held.clone(), None).await.expect("an answer"), Leased::Taken, "its own again");
    cache.release(&name("k"), &held.holder, 2).await.expect("an answer");
    assert_eq!(asked(&cache, "late").await, Leased::Held(held.clone()), "another attempt's end is not its own");
    cache.release(&name("k"), &held.holder, 1).await.expect("an answer");
    assert_eq!(asked(&cache, "late").await, Leased::Taken);
}

async fn asked(cache: &Arc<dyn StepCache>, run: &str) -> Leased {
    cache.lease(&name("k"), lease(run, 5), None).await.expect("an answer")
}

async fn a_lease_is_taken_over_by_its_name(cache: Arc<dyn StepCache>) {
    let [first, second, third] = ["a", "b", "c"].map(|run| lease(run, 1));
    let ask = async |lease: &Lease, over: Option<&Lease>| {
        cache.lease(&name("k"), lease.clone(), over).await.expect("an answer")
    };
    assert_eq!(ask(&first, None).await, Leased::Taken);
    assert_eq!(ask(&second, Some(&first)).await, Leased::Taken);
    assert_eq!(ask(&third, Some(&first)).await, Leased::Held(second), "somebody else found out before");
}

async fn no_lease_where_an_entry_is(cache: Arc<dyn StepCache>) {
    assert_eq!(asked(&cache, "a").await, Leased::Taken);
    publish(&cache, &Entry { expires_at: Some(time(10)), ..entry("k", "a", 1) }).await;
    assert_eq!(asked(&cache, "b").await, Leased::Published, "and the lease of who published has ended");
    let late = cache.lease(&name("k"), lease("b", 10), None).await.expect("an answer");
    assert_eq!(late, Leased::Taken, "what has had its time is as none");
}

async fn a_withdrawn_result_stays_away(cache: Arc<dyn StepCache>) {
    let (made, other) = (entry("k", "a", 1), entry("k", "b", 2));
    let withdraw = async |by: &StepKey| cache.withdraw(&name("k"), by, time(3)).await.expect("an answer");
    publish(&cache, &made).await;
    assert!(!withdraw(&other.made_by).await, "another's stays");
    assert!(is_there(&cache, "k").await);
    assert!(withdraw(&made.made_by).await && !is_there(&cache, "k").await);
    assert_eq!(publish(&cache, &made).await, Published::Passed);
    assert_eq!(publish(&cache, &other).await, Published::Passed, "also where it was withdrawn before it was published");
    assert_eq!(publish(&cache, &entry("k", "c", 4)).await, Published::Kept);
}

async fn a_result_is_confirmed(cache: Arc<dyn StepCache>) {
    let made = entry("k", "a", 1);
    publish(&cache, &made).await;
    cache.confirm(&made.name, &step_key("other", 1, "s")).await.expect("an answer");
    assert_eq!(get(&cache, "k", 2).await, Looked::Entry(Box::new(made.clone())), "not by what is another's");
    cache.confirm(&made.name, &made.made_by).await.expect("an answer");
    assert_eq!(get(&cache, "k", 2).await, Looked::Entry(Box::new(Entry { unproven: false, ..made })));
}

async fn entries_are_selected(cache: Arc<dyn StepCache>) {
    let fill = async || {
        publish(&cache, &entry("a", "a", 10)).await;
        let b = Entry { workflow: "x".to_owned(), version: None, ..entry("b", "b", 20) };
        publish(&cache, &b).await;
        let c = Entry { made_by: step_key("c", 1, "t"), expires_at: Some(time(40)), ..entry("c", "c", 30) };
        publish(&cache, &c).await;
    };
    fill().await;
    cache.note(hit(&entry("a", "a", 10), "late", 100)).await.expect("an answer");
    let cases = [
        (EntryFilter { key: Some(name("b").key.as_str()[..9].to_owned()), ..EntryFilter::default() }, "b"),
        (EntryFilter { workflow: Some("x".to_owned()), ..EntryFilter::default() }, "b"),
        (EntryFilter { step: Some(StepId::new("t")), ..EntryFilter::default() }, "c"),
        (EntryFilter { version: Some("1".to_owned()), ..EntryFilter::default() }, "a c"),
        (EntryFilter { made_before: Some(time(30)), ..EntryFilter::default() }, "a b"),
        (EntryFilter { unused_since: Some(time(31)), ..EntryFilter::default() }, "b c"),
        (EntryFilter { expired_by: Some(time(40)), ..EntryFilter::default() }, "c"),
        (EntryFilter { expired_by: Some(time(39)), ..EntryFilter::default() }, ""),
        (EntryFilter { workflow: Some("w".to_owned()), step: Some(StepId::new("s")), ..EntryFilter::default() }, "a"),
    ];
    for (filter, expected) in cases {
        let listed = cache.entries(&filter, None, 10).await.expect("an answer").rows;
        let mut keys: Vec<&str> =
            ["a", "b", "c"].into_iter().filter(|key| listed.iter().any(|one| one.name == name(key))).collect();
        keys.sort_unstable();
        assert_eq!(keys.join(" "), expected, "{filter:?}");
    }
    let gone = cache.invalidate(&EntryFilter { version: Some("1".to_owned()), ..EntryFilter::default() }).await;
    assert_eq!(gone.expect("an answer"), 2);
    assert!(is_there(&cache, "b").await && !is_there(&cache, "a").await);
}

async fn entries_come_by_page(cache: Arc<dyn StepCache>) {
    for number in 0..5 {
        publish(&cache, &entry(&format!("k{number}"), &format!("r{number}"), 1)).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = cache.entries(&EntryFilter::default(), after.as_ref(), 2).await.expect("an answer");
        assert!(page.rows.len() <= 2);
        seen.extend(page.rows.into_iter().map(|listed| listed.name));
        after = seen.last().cloned();
        if !page.more {
            break;
        }
    }
    let mut expected: Vec<EntryName> = (0..5).map(|number| name(&format!("k{number}"))).collect();
    expected.sort();
    assert_eq!(seen, expected);
}

/// Each has 100 bytes, and 250 fit.
async fn the_longest_unused_go_first(cache: Arc<dyn StepCache>) {
    publish(&cache, &entry("a", "a", 1)).await;
    publish(&cache, &entry("b", "b", 2)).await;
    cache.note(hit(&entry("a", "a", 1), "r", 3)).await.expect("an answer");
    publish(&cache, &entry("c", "c", 4)).await;
    assert!(is_there(&cache, "a").await && !is_there(&cache, "b").await && is_there(&cache, "c").await);
    let large = Entry { bytes: 1000, ..entry("d", "d", 5) };
    assert_eq!(publish(&cache, &large).await, Published::Kept);
    assert!(is_there(&cache, "d").await && !is_there(&cache, "c").await, "what was just made stays");
    let evicted = cache.evict(0).await.expect("an answer");
    assert_eq!((evicted.entries, evicted.bytes, is_there(&cache, "d").await), (1, 1000, false));
}

async fn uses_are_counted_once_and_outlive_entries(cache: Arc<dyn StepCache>) {
    let made = entry("k", "a", 1);
    publish(&cache, &made).await;
    publish(&cache, &made).await;
    for run in ["b", "b", "c"] {
        cache.note(hit(&made, run, if run == "b" { 10 } else { 20 })).await.expect("an answer");
    }
    cache.evict(0).await.expect("an answer");
    let counted = cache.statistics(&UseFilter::default()).await.expect("an answer");
    let [one] = &*counted else { panic!("one step of one workflow, and not {counted:?}") };
    assert_eq!((one.hits, one.misses, one.saved_ms, one.spent_ms), (2, 1, 4000, 2000));
    assert!((one.saved_usd - 0.5).abs() < 1e-9 && (one.spent_usd - 0.25).abs() < 1e-9);
    let late = UseFilter { from: Some(time(20)), ..UseFilter::default() };
    assert_eq!(cache.statistics(&late).await.expect("an answer")[0].hits, 1);
    let uses = async |filter: UseFilter| {
        let uses = cache.uses(&filter, 2).await.expect("an answer");
        uses.into_iter().map(|used| used.step.execution.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(uses(UseFilter::default()).await, ["c", "b"], "newest first, and no more than were asked for");
    assert_eq!(uses(UseFilter { hit: Some(false), ..UseFilter::default() }).await, ["a"]);
    assert_eq!(uses(UseFilter { before: Some(time(20)), ..UseFilter::default() }).await, ["b", "a"]);
    let other = UseFilter { workflow: Some("x".to_owned()), ..UseFilter::default() };
    assert_eq!(uses(other).await, Vec::<String>::new());
    let long_ago = time(0).checked_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN);
    assert_eq!(uses(UseFilter { before: Some(long_ago), ..UseFilter::default() }).await, Vec::<String>::new());
}
