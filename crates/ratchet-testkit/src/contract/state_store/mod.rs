mod artifacts;
mod commits;
mod races;
mod reads;
mod shared;

use std::{future::Future, sync::Arc, time::Duration};

use ratchet_engine::ports::{Committed, StateStore, StoreError, Write, WriteOutcome};

/// A store under test.
type Store = Arc<dyn StateStore>;

/// Every sentence of the contract of [`StateStore`]. `make` gives an empty store each time. Runs in a Tokio runtime with its timer on.
pub async fn state_store(make: impl AsyncFn() -> Arc<dyn StateStore>) {
    commits::a_commit_is_a_prefix_of_its_writes(make().await).await;
    commits::a_write_sees_those_before_it(make().await).await;
    commits::a_conflict_shows_the_row_that_is_there(make().await).await;
    commits::an_attempts_item_is_kept_once(make().await).await;
    commits::a_union_is_idempotent_and_never_conflicts(make().await).await;
    commits::a_row_comes_back_as_it_was_written(make().await).await;
    races::one_of_two_claims_wins(make().await).await;
    races::one_of_two_changes_wins(make().await).await;
    races::one_arrival_fills_a_bucket(make().await).await;
    races::a_commit_that_was_answered_is_seen(make().await).await;
    shared::an_attempt_is_paid_once(make().await).await;
    shared::a_reached_budget_ends_a_commit(make().await).await;
    shared::no_more_are_entered_than_the_budget_has(make().await).await;
    shared::turns_come_in_order(make().await).await;
    shared::never_more_turns_than_the_limit(make().await).await;
    artifacts::versions_count_up_and_are_registered_once(make().await).await;
    artifacts::an_output_that_hands_on_a_steps_version_is_that_version(make().await).await;
    artifacts::a_version_is_found_by_what_it_is_called(make().await).await;
    artifacts::versions_come_by_page(make().await).await;
    artifacts::what_is_in_use_is_not_dropped(make().await).await;
    artifacts::who_read_what_is_known(make().await).await;
    artifacts::many_at_once_get_a_number_each(make().await).await;
    reads::what_is_not_there_is_absent(make().await).await;
    reads::the_newest_row_of_a_step_counts(make().await).await;
    reads::steps_come_by_page_without_children(make().await).await;
    reads::children_come_in_the_order_of_their_items(make().await).await;
    reads::executions_come_newest_first(make().await).await;
    reads::executions_are_filtered(make().await).await;
    reads::due_executions_come_earliest_first(make().await).await;
}

/// Commits writes that must all be applied, and returns what they left.
async fn commit(store: &Store, writes: Vec<Write>) -> Vec<WriteOutcome> {
    let count = writes.len();
    let committed = answer(store.commit(writes).await);
    assert_eq!(committed.conflict, None, "no write stands in the way of these");
    assert_eq!(committed.applied.len(), count, "an applied write leaves an outcome");
    committed.applied
}

/// Commits writes of which one must conflict, and returns what came of them.
async fn commit_conflicting(store: &Store, writes: Vec<Write>) -> Committed {
    let committed = answer(store.commit(writes).await);
    let conflict = committed.conflict.as_ref().expect("one of these writes conflicts");
    assert_eq!(
        committed.applied.len(),
        conflict.position,
        "what stands before the conflict is applied, and nothing else"
    );
    committed
}

/// What the store answered; a store under test is there and has room.
fn answer<T>(result: Result<T, StoreError>) -> T {
    result.expect("the store answers")
}

/// Asks again until the answer is the one expected, for reads of an index that may lag; gives up after some seconds.
async fn eventually<T: PartialEq + std::fmt::Debug, F: Future<Output = T>>(expected: T, ask: impl Fn() -> F) {
    let mut last = ask().await;
    for _ in 0..200 {
        if last == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        last = ask().await;
    }
    assert_eq!(last, expected, "the index has not caught up");
}
