//! Graphs of trees, and what they come to.

use proptest::prelude::*;
use ratchet_core::ids::StepId;

use super::*;
use crate::layer::Mark;
use crate::{
    manifest::Entry,
    testing::{self, Memory},
};

fn meeting(name: &str, tree: ContentDigest) -> Meeting {
    Meeting { step: StepPath::step(StepId::new(name)), tree }
}

/// What is done to a graph: a step on one of its trees, or a join of several.
#[derive(Debug, Clone)]
enum Growth {
    Step(prop::sample::Index, Vec<testing::Edit>),
    Join(Vec<prop::sample::Index>),
}

fn growths() -> impl Strategy<Value = Vec<Growth>> {
    let at = || any::<prop::sample::Index>();
    let growth = prop_oneof![
        3 => (at(), testing::edits()).prop_map(|(at, edits)| Growth::Step(at, edits)),
        1 => proptest::collection::vec(at(), 2..4).prop_map(Growth::Join),
    ];
    proptest::collection::vec(growth, 1..14)
}

proptest! {
    #![proptest_config(testing::cases(128))]

    #[test]
    fn every_tree_of_a_graph_is_what_its_steps_made_of_it(source in testing::trees(), growths in growths()) {
        let contents: Arc<dyn Contents> = Arc::new(Memory::default());
        let trees = Trees::new(contents.clone());
        let begun = trees.begin(&testing::manifest(&source)).unwrap();
        let mut known: Vec<(ContentDigest, Option<testing::Tree>)> = vec![(begun, Some(source))];
        for growth in growths {
            match growth {
                Growth::Step(at, edits) => {
                    let Some((base, Some(files))) = known.get(at.index(known.len())).cloned() else { continue };
                    let mut after = files.clone();
                    for edit in &edits { edit.make(&mut after); }
                    let layer = Layer::between(&testing::manifest(&files), &testing::manifest(&after));
                    known.push((trees.grow(base, layer).unwrap(), Some(after)));
                }
                Growth::Join(ats) => {
                    let tips: Vec<_> = ats.iter().map(|at| meeting("any", known[at.index(known.len())].0)).collect();
                    let (there, back) = (trees.merge(&tips), trees.merge(&tips.iter().rev().cloned().collect::<Vec<_>>()));
                    prop_assert_eq!(there.is_ok(), back.is_ok());
                    let (Ok(there), Ok(back)) = (there, back) else { continue };
                    let merged = trees.manifest(there).unwrap();
                    prop_assert_eq!(&merged, &trees.manifest(back).unwrap());
                    prop_assert_eq!(merged.misplaced(), None);
                    for tip in &tips {
                        // Who has all that the others have is the join, and joining again changes nothing.
                        let again = trees.merge(&[tip.clone(), meeting("joined", there)]).unwrap();
                        prop_assert_eq!(again, there);
                    }
                    known.push((there, None));
                }
            }
        }
        // Whoever comes later knows nothing but the contents.
        let cold = Trees::new(contents);
        for (tree, files) in &known {
            let manifest = cold.manifest(*tree).unwrap();
            prop_assert_eq!(&manifest, &trees.manifest(*tree).unwrap());
            if let Some(files) = files {
                prop_assert_eq!(&manifest, &testing::manifest(files));
            }
            let node = cold.get(*tree).unwrap();
            prop_assert_eq!(&Tree::from_bytes(&node.to_bytes().unwrap()).unwrap(), &*node);
        }
        for (from, _) in &known {
            for (to, _) in &known {
                let mut tree = trees.manifest(*from).unwrap();
                cold.change(*from, *to).unwrap().apply(&mut tree).unwrap();
                prop_assert_eq!(&tree, &trees.manifest(*to).unwrap());
            }
        }
    }
}

struct Scene {
    trees: Trees,
    source: testing::Tree,
    begun: ContentDigest,
}

impl Scene {
    fn new(edits: &str) -> Self {
        let mut source = testing::Tree::new();
        testing::edit_tree(&mut source, edits);
        let trees = Trees::new(Arc::new(Memory::default()));
        let begun = trees.begin(&testing::manifest(&source)).unwrap();
        Self { trees, source, begun }
    }

    /// The tree of a step over another one, with the marks that its paths have by their names.
    fn step(&self, base: ContentDigest, edits: &str) -> ContentDigest {
        let before = self.trees.manifest(base).unwrap();
        let mut files = self.source.clone();
        for (path, entry) in &before {
            if let Entry::File { mode, .. } = entry
                && !files.contains_key(path)
            {
                testing::put(&mut files, path, testing::Node::File(*mode, b"unknown".to_vec()));
            }
        }
        let mut after = files.clone();
        testing::edit_tree(&mut after, edits);
        let mut layer = Layer::between(&testing::manifest(&files), &testing::manifest(&after));
        let nowhere = std::path::Path::new("/nowhere");
        crate::marks::Marks::new(nowhere, nowhere, BTreeSet::new()).mark(&mut layer);
        let mut rebased = layer.rebased(&before);
        rebased.mark(|path, _| layer.get(path).map_or(Mark::Plain, |change| change.mark));
        self.trees.grow(base, rebased).unwrap()
    }
}

fn paths(layer: &Layer) -> String {
    layer.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn trees_meet_at_the_nearest_that_they_have_in_common() {
    let scene = Scene::new("+a one\n+b one\n+c one");
    let (trees, begun) = (&scene.trees, scene.begun);
    let (first, second) = (scene.step(begun, "+a two"), scene.step(begun, "+b two"));
    let joined = trees.merge(&[meeting("first", first), meeting("second", second)]).unwrap();
    assert_eq!(paths(&trees.change(begun, joined).unwrap()), "a b");
    // What the join has of the first is no conflict with what comes after the first.
    let after = scene.step(first, "+a three");
    let all = trees.merge(&[meeting("join", joined), meeting("after", after)]).unwrap();
    assert_eq!(
        trees.manifest(all).unwrap().get(&TreePath::new("a").unwrap()),
        trees.manifest(after).unwrap().get(&TreePath::new("a").unwrap())
    );
    assert_eq!(trees.get(all).unwrap().parents, [joined, after]);
    let other = scene.step(second, "+a four");
    let error = trees.merge(&[meeting("after", after), meeting("other", other)]).unwrap_err();
    assert_eq!(error.to_string(), "the steps after and other both changed a");
    for tips in [
        &[meeting("one", joined)][..],
        &[meeting("a", first), meeting("b", joined)],
        &[meeting("a", joined), meeting("b", begun)],
    ] {
        assert_eq!(trees.merge(tips).unwrap(), joined);
    }
}

#[test]
fn leavings_never_conflict_and_the_later_wins() {
    let scene = Scene::new("+a one");
    let tips = [("first", "+.coverage one\n+a two"), ("second", "+.coverage two")]
        .map(|(name, edits)| meeting(name, scene.step(scene.begun, edits)));
    let digest = |tree| scene.trees.manifest(tree).unwrap().get(&TreePath::new(".coverage").unwrap()).cloned();
    assert_eq!(digest(scene.trees.merge(&tips).unwrap()), digest(tips[1].tree));
    let back = [tips[1].clone(), tips[0].clone()];
    assert_eq!(digest(scene.trees.merge(&back).unwrap()), digest(tips[0].tree));
}

/// What a step did once over a tree with `a` and `d/b`, laid over what is there now: each as edits.
#[test]
fn what_a_step_did_is_laid_where_every_path_has_either_end() {
    for (name, did, now, expected) in [
        ("as it was then", "+a two", "", Ok("a")),
        ("as it would be", "+a two", "+a two", Ok("")),
        ("something else changed", "+a two", "+n x", Ok("a")),
        ("edited by somebody", "+a two", "+a mine", Err("a")),
        ("removed by somebody", "+a two", "-a", Err("a")),
        ("made by somebody", "+n x", "+n mine", Err("n")),
        ("made by somebody just so", "+n x", "+n x", Ok("")),
        ("a tool's leaving", "+.coverage x", "+.coverage mine", Ok(".coverage")),
        ("an output", "+out x", "+out mine", Ok("out")),
        ("its folder is gone", "+d/b two", "-d", Err("d/b")),
        ("its new file's folder is a file", "+e/n x", "+e mine", Err("e")),
        ("a removed folder has more in it", "-d", "+d/n mine", Err("d/n")),
        ("who may write it", "+a two", "ma 664", Ok("a")),
        ("who may run it", "+a two", "xa", Err("a")),
    ] {
        let scene = Scene::new("+a one\n+d/b one");
        let left = scene.step(scene.begun, did);
        let mut there = scene.source.clone();
        testing::edit_tree(&mut there, now);
        let base = scene.trees.begin(&testing::manifest(&there)).unwrap();
        let laid = scene.trees.lay(base, left, &[TreePath::new("out").unwrap()]).unwrap();
        let told = match &laid {
            Laid::Tree(tree) => Ok(paths(&scene.trees.change(base, *tree).unwrap())),
            Laid::Differs(path) => Err(path.to_string()),
        };
        assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        if let Laid::Tree(tree) = laid {
            assert_eq!(tree == base, expected == Ok(""), "{name}: nothing is written where nothing changes");
        }
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let scene = Scene::new("+a one");
    let tree = scene.trees.get(scene.step(scene.begun, "+a two")).unwrap();
    let bytes = tree.to_bytes().unwrap();
    for end in 0..bytes.len() {
        assert!(Tree::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
    for tree in [
        Tree { parents: Vec::new(), ..(*tree).clone() },
        Tree { depth: 0, ..(*tree).clone() },
        Tree { parents: Vec::new(), depth: 0, ..(*tree).clone() },
    ] {
        assert!(Tree::from_bytes(&tree.to_bytes().unwrap()).is_err());
    }
    let missing = scene.trees.get(ContentDigest::of(b"nothing")).unwrap_err();
    assert_eq!(missing.code(), "RT-0274");
}
