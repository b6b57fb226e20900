//! Versions of artifacts, their tags, and who reads them.

use std::sync::Arc;

use ratchet_core::{
    artifact::{Artifact, ArtifactRead, ArtifactVersion, Origin, Readers, Retention, Which},
    ids::{ExecutionId, StepId, StepPath},
};
use ratchet_engine::ports::{ArtifactFilter, Conflict, Current, Write, WriteOutcome};

use super::{Store, answer, commit, commit_conflicting, races::all_at_once};
use crate::builders::{artifact, artifact_name};

/// How many register under one name at once.
const RIVALS: u32 = 24;

pub(super) async fn versions_count_up_and_are_registered_once(store: Store) {
    assert_eq!(answer(store.last_artifact(&artifact_name("report")).await), None);
    let first = artifact("report", "run", 1, Some(step("a")), "one");
    let second = artifact("report", "run2", 1, Some(step("a")), "one");
    let outcomes = commit(&store, vec![write(&first), write(&first), write(&second), write(&first)]).await;
    let numbers: Vec<u64> = outcomes.into_iter().map(|outcome| version(outcome).number).collect();
    assert_eq!(numbers, [1, 1, 2, 1], "the same origin is the same version, another run's has a number of its own");
    assert_eq!(answer(store.last_artifact(&artifact_name("report")).await), Some(2));

    let changed = artifact("report", "run", 1, Some(step("a")), "other");
    assert_eq!(register(&store, &changed).await.artifact, first, "an origin has one version an epoch");
    let again = artifact("report", "run", 2, Some(step("a")), "one");
    assert_eq!(register(&store, &again).await.number, 1, "a later epoch that made the same");
    let later = artifact("report", "run", 2, Some(step("a")), "other");
    assert_eq!(register(&store, &later).await.number, 3, "a later epoch that made something else");
    assert_eq!(register(&store, &first).await.number, 3, "what comes late of an earlier epoch is none any more");
    let back = artifact("report", "run", 3, Some(step("a")), "one");
    assert_eq!(register(&store, &back).await.number, 4, "what was made before and is made again is the newest");

    let child = |item| Some(StepPath::child(StepId::new("a"), item));
    let children = [0, 1, 0].map(|item| write(&artifact("part", "run", 1, child(item), "x")));
    let numbers: Vec<u64> = commit(&store, children.into()).await.into_iter().map(|o| version(o).number).collect();
    assert_eq!(numbers, [1, 2, 1], "each name counts for itself, and each child is an origin");

    let put = |request: &str| Artifact {
        origin: Origin::Person { name: "ada".to_owned(), request: request.to_owned() },
        retention: Retention::Forever,
        readers: Readers::Only(vec!["deploy".to_owned()]),
        ..artifact("report", "run", 1, None, "by hand")
    };
    assert_eq!(register(&store, &put("1")).await.number, 5);
    assert_eq!(register(&store, &put("1")).await, ArtifactVersion { number: 5, artifact: put("1"), uses: 0 });
    assert_eq!(register(&store, &put("2")).await.number, 6);
}

pub(super) async fn an_output_that_hands_on_a_steps_version_is_that_version(store: Store) {
    let made = register(&store, &artifact("report", "run", 1, Some(step("a")), "x")).await;
    assert_eq!(register(&store, &artifact("report", "run", 1, None, "x")).await, made);
    assert_eq!(register(&store, &artifact("report", "run", 1, Some(step("b")), "x")).await.number, 2);
    assert_eq!(register(&store, &artifact("report", "run2", 1, None, "x")).await.number, 3, "of another run");
    assert_eq!(register(&store, &artifact("report", "run", 1, None, "y")).await.number, 4, "of other content");
    assert_eq!(register(&store, &artifact("other", "run", 1, None, "x")).await.number, 1, "of another name");
}

pub(super) async fn a_version_is_found_by_what_it_is_called(store: Store) {
    let name = artifact_name("report");
    let found = async |which: Which| answer(store.artifact(&name, &which).await).map(|version| version.number);
    let named = |word: &str| Which::Named(word.to_owned());
    assert_eq!(found(Which::Latest).await, None);
    for (run, content) in [("run", "1"), ("run.aa", "2"), ("run2", "3"), ("run", "4")] {
        let path = Some(StepPath::step(StepId::new(content)));
        register(&store, &artifact("report", run, 1, path, content)).await;
    }
    register(&store, &artifact("other", "run3", 1, None, "5")).await;
    let tagged = |tag: &str, number| Write::TagArtifact { artifact: name.clone(), tag: tag.to_owned(), number };
    commit(&store, vec![tagged("stable", Some(1)), tagged("run2", Some(1)), tagged("stable", Some(2))]).await;
    assert_eq!(found(Which::Latest).await, Some(4));
    assert_eq!([found(Which::Number(2)).await, found(Which::Number(5)).await], [Some(2), None]);
    assert_eq!(found(named("run")).await, Some(4), "the newest of a run and of those that it started");
    assert_eq!(found(named("run.aa")).await, Some(2));
    assert_eq!(found(named("run2")).await, Some(3), "a tag does not pass for a run");
    assert_eq!(found(named("run3")).await, None, "that made another artifact");
    assert_eq!(found(named("stable")).await, Some(2));
    let tags = vec![("run2".to_owned(), 1), ("stable".to_owned(), 2)];
    assert_eq!(answer(store.artifact_tags(&name).await), tags);
    assert_eq!(answer(store.artifact_tags(&artifact_name("other")).await), []);
    commit(&store, vec![tagged("stable", None), tagged("stable", None)]).await;
    assert_eq!(found(named("stable")).await, None);
    let conflict = Some(Conflict { position: 0, current: Current::Absent });
    assert_eq!(commit_conflicting(&store, vec![tagged("next", Some(9))]).await.conflict, conflict);
}

pub(super) async fn versions_come_by_page(store: Store) {
    for (name, run) in [("b", "run"), ("a", "run"), ("a", "run2"), ("a", "run3")] {
        register(&store, &artifact(name, run, 1, None, name)).await;
    }
    let foreign = Artifact { name: name_in("other", "a"), ..artifact("a", "run", 1, None, "z") };
    register(&store, &foreign).await;
    let pages = async |filter: ArtifactFilter| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = answer(store.artifacts(&filter, after.as_ref(), 2).await);
            after = page.rows.last().map(|version| (version.artifact.name.clone(), version.number));
            found.extend(page.rows.iter().map(|version| version.reference().to_string()));
            if !page.more {
                return found;
            }
        }
    };
    let all = ["example/a@1", "example/a@2", "example/a@3", "example/b@1", "other/a@1"];
    assert_eq!(pages(ArtifactFilter::default()).await, all);
    let of = |workflow: Option<&str>, name: Option<&str>| ArtifactFilter {
        workflow: workflow.map(str::to_owned),
        name: name.map(str::to_owned),
    };
    assert_eq!(pages(of(Some("example"), None)).await, all[..4]);
    assert_eq!(pages(of(None, Some("a"))).await, [&all[..3], &all[4..]].concat());
    assert_eq!(pages(of(Some("other"), Some("b"))).await, [""; 0]);
    let made = answer(store.artifacts_made_by(&ExecutionId::new("run")).await);
    let made: Vec<String> = made.iter().map(|version| version.reference().to_string()).collect();
    assert_eq!(made, ["example/a@1", "example/b@1", "other/a@1"]);
}

pub(super) async fn what_is_in_use_is_not_dropped(store: Store) {
    let name = artifact_name("report");
    for run in ["run", "run2", "run3"] {
        register(&store, &artifact("report", run, 1, None, run)).await;
    }
    let drop = |number, uses| Write::DropArtifact { artifact: name.clone(), number, uses };
    let read = |number| Write::ReadArtifact(reading("reader", None, number));
    let tag = |number| Write::TagArtifact { artifact: name.clone(), tag: "stable".to_owned(), number };
    commit(&store, vec![read(1), read(1), tag(Some(2))]).await;
    let current =
        async |write: Write| commit_conflicting(&store, vec![write]).await.conflict.map(|found| found.current);
    let uses = |current: Option<Current>| match current {
        Some(Current::Artifact(version)) => Some(version.uses),
        _ => None,
    };
    assert_eq!(uses(current(drop(1, 0)).await), Some(2), "somebody began to read it, and again");
    assert_eq!(uses(current(drop(2, 1)).await), Some(1), "it has a tag");
    assert_eq!(current(drop(4, 0)).await, Some(Current::Absent));
    commit(&store, vec![tag(Some(3)), drop(1, 2), drop(2, 2)]).await;
    assert_eq!(current(read(1)).await, Some(Current::Absent), "what is gone is not relied upon");
    assert_eq!(answer(store.artifact_readers(&name, 1).await), [], "its readers are gone with it");
    assert_eq!(answer(store.artifact(&name, &Which::Number(1)).await), None);
    let stable = answer(store.artifact(&name, &Which::Named("stable".to_owned())).await);
    assert_eq!(stable.map(|version| version.number), Some(3));
    commit(&store, vec![tag(None), drop(3, 2)]).await;
    assert_eq!(answer(store.artifact(&name, &Which::Latest).await), None);
    assert_eq!(register(&store, &artifact("report", "run4", 1, None, "x")).await.number, 4, "no number comes twice");
}

pub(super) async fn who_read_what_is_known(store: Store) {
    for run in ["run", "run2"] {
        register(&store, &artifact("report", run, 1, None, run)).await;
    }
    let child = Some(StepPath::child(StepId::new("a"), 3));
    let reads = [
        reading("next", None, 2),
        reading("next", Some(step("a")), 1),
        reading("next", child, 1),
        reading("next.aa", Some(step("b")), 1),
        reading("next2", None, 1),
    ];
    commit(&store, reads.iter().rev().cloned().map(Write::ReadArtifact).collect()).await;
    assert_eq!(answer(store.artifacts_read_by(&ExecutionId::new("next")).await), reads[..4]);
    assert_eq!(answer(store.artifacts_read_by(&ExecutionId::new("next2")).await), reads[4..]);
    assert_eq!(answer(store.artifact_readers(&artifact_name("report"), 1).await), reads[1..]);
    assert_eq!(answer(store.artifact_readers(&artifact_name("other"), 1).await), []);
}

pub(super) async fn many_at_once_get_a_number_each(store: Store) {
    let rivals = (0..RIVALS).flat_map(|rival| [rival, rival]).map(|rival| {
        let store = Arc::clone(&store);
        async move { register(&store, &artifact("report", &format!("run{rival}"), 1, None, "x")).await.number }
    });
    let mut numbers = all_at_once(rivals).await;
    numbers.sort_unstable();
    let expected: Vec<u64> = (1..=u64::from(RIVALS)).flat_map(|number| [number, number]).collect();
    assert_eq!(numbers, expected, "each run a number, however often it registers, and none is left out");
}

fn step(id: &str) -> StepPath {
    StepPath::step(StepId::new(id))
}

fn name_in(workflow: &str, name: &str) -> ratchet_core::artifact::ArtifactName {
    ratchet_core::artifact::ArtifactName { workflow: workflow.to_owned(), ..artifact_name(name) }
}

fn reading(execution: &str, step: Option<StepPath>, number: u64) -> ArtifactRead {
    ArtifactRead { execution: ExecutionId::new(execution), step, artifact: artifact_name("report"), number }
}

fn write(artifact: &Artifact) -> Write {
    Write::Artifact(Box::new(artifact.clone()))
}

fn version(outcome: WriteOutcome) -> ArtifactVersion {
    match outcome {
        WriteOutcome::Artifact(version) => *version,
        other => panic!("a registration leaves a version, not {other:?}"),
    }
}

async fn register(store: &Store, artifact: &Artifact) -> ArtifactVersion {
    let mut outcomes = commit(store, vec![write(artifact)]).await;
    version(outcomes.remove(0))
}
