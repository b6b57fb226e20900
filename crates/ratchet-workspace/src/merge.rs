//! What several branches left behind, as one layer: path by path over the tree that they all began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ratchet_core::ids::StepPath;
use serde::{Deserialize, Serialize};

use crate::{
    error::WorkspaceError,
    layer::{Change, Layer},
    manifest::{Entry, Manifest},
    path::TreePath,
};

/// One of the branches that meet.
#[derive(Debug, Clone, Copy)]
pub struct Branch<'a> {
    /// The step that ends it.
    pub step: &'a StepPath,
    /// What the branch changed in the common tree.
    pub layer: &'a Layer,
}

/// A path that two branches changed to different content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MergeConflict {
    /// Which.
    pub path: TreePath,
    /// The steps at whose ends it differs, the earlier in the file first.
    pub steps: [String; 2],
}

impl fmt::Display for MergeConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the steps {} and {} both changed {}", self.steps[0], self.steps[1], self.path)
    }
}

/// Merges what branches did to `base`. They come in the order of the file: where nobody minds, the later wins. What is exempt in one of them is so in all.
pub fn merge(base: &Manifest, branches: &[Branch<'_>]) -> Result<Layer, WorkspaceError> {
    let mut merge = Merge { base, changes: BTreeMap::new(), conflicts: BTreeSet::new() };
    for branch in branches {
        for (path, change) in branch.layer {
            merge.unite(path, branch, change);
        }
    }
    if merge.conflicts.is_empty() {
        merge.settle_folders();
    }
    if merge.conflicts.is_empty() {
        Ok(merge.changes.into_iter().map(|(path, (change, _))| (path, change)).collect())
    } else {
        Err(WorkspaceError::Conflict { conflicts: merge.conflicts.into_iter().collect() })
    }
}

struct Merge<'a> {
    base: &'a Manifest,
    /// Each path with what it became, and the step that made it so.
    changes: BTreeMap<TreePath, (Change, &'a StepPath)>,
    conflicts: BTreeSet<MergeConflict>,
}

impl<'a> Merge<'a> {
    fn unite(&mut self, path: &TreePath, branch: &Branch<'a>, change: &Change) {
        let Some((earlier, step)) = self.changes.get_mut(path) else {
            self.changes.insert(path.clone(), (change.clone(), branch.step));
            return;
        };
        let mark = earlier.mark.max(change.mark);
        if earlier.after != change.after {
            if mark.is_exempt() {
                (*earlier, *step) = (change.clone(), branch.step);
            } else {
                let steps = [step.to_string(), branch.step.to_string()];
                self.conflicts.insert(MergeConflict { path: path.clone(), steps });
            }
        }
        earlier.mark = mark;
    }

    /// Whatever is there lies in folders: a removed folder stays while another branch has something in it, and a file never takes the place of one
    /// in which another branch worked, unless nobody minds what either did.
    fn settle_folders(&mut self) {
        let made: Vec<TreePath> = self
            .changes
            .iter()
            .filter(|(_, (change, _))| change.after.is_some())
            .map(|(path, _)| path.clone())
            .collect();
        for path in made {
            let above: Vec<_> = path.ancestors().collect();
            for folder in above.into_iter().rev() {
                let Some((over, over_step)) = self.changes.get(&folder) else { continue };
                let Some((change, step)) = self.changes.get(&path) else { break };
                if over.after.as_ref().is_some_and(Entry::is_folder) {
                    continue;
                }
                if over.after.is_none() && over.before.as_ref().is_some_and(Entry::is_folder) {
                    self.changes.remove(&folder);
                    continue;
                }
                if over.mark.is_exempt() && change.mark.is_exempt() {
                    self.give_way(&path, over_step);
                } else {
                    let steps = [over_step.to_string(), step.to_string()];
                    self.conflicts.insert(MergeConflict { path: folder, steps });
                }
                break;
            }
        }
    }

    /// A path is not there, because something took the place of a folder above it.
    fn give_way(&mut self, path: &TreePath, to: &'a StepPath) {
        let Some((change, step)) = self.changes.get_mut(path) else { return };
        if self.base.get(path).is_some() {
            (change.after, *step) = (None, to);
        } else {
            self.changes.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratchet_core::ids::StepId;

    use super::*;
    use crate::{layer::Mark, testing};

    fn steps() -> [StepPath; 3] {
        ["one", "two", "three"].map(|name| StepPath::step(StepId::new(name)))
    }

    fn merged(base: &Manifest, layers: &[&Layer]) -> Result<Layer, Vec<String>> {
        let steps = steps();
        let branches: Vec<_> = layers.iter().zip(&steps).map(|(layer, step)| Branch { step, layer }).collect();
        merge(base, &branches).map_err(|error| match error {
            WorkspaceError::Conflict { conflicts } => {
                conflicts.iter().map(|conflict| conflict.path.to_string()).collect()
            }
            other => panic!("{other}"),
        })
    }

    proptest! {
        #![proptest_config(testing::cases(256))]

        #[test]
        fn without_a_conflict_the_order_does_not_matter(
            base in testing::trees(), left in testing::edits(), right in testing::edits()
        ) {
            let (base, left, right) = branches(&base, &left, &right);
            let (there, back) = (merged(&base, &[&left, &right]), merged(&base, &[&right, &left]));
            prop_assert_eq!(&there, &back);
            let clash = |(path, change): (&TreePath, &Change)| {
                right.get(path).is_some_and(|other| other.after != change.after).then(|| path.to_string())
            };
            let clashes: BTreeSet<_> = left.iter().filter_map(clash).collect();
            match there {
                Err(conflicts) => prop_assert!(clashes.is_subset(&conflicts.into_iter().collect())),
                Ok(layer) => {
                    prop_assert!(clashes.is_empty());
                    let mut tree = base.clone();
                    layer.apply(&mut tree).unwrap();
                    prop_assert_eq!(tree.misplaced(), None);
                    for (path, change) in left.iter().chain(right.iter()).filter(|(_, change)| change.after.is_some()) {
                        prop_assert_eq!(tree.get(path), change.after.as_ref());
                    }
                }
            }
        }

        #[test]
        fn a_branch_that_did_nothing_or_the_same_changes_nothing(base in testing::trees(), edits in testing::edits()) {
            let (base, layer, _) = branches(&base, &edits, &[]);
            let nothing = Layer::default();
            for others in [&[&layer][..], &[&layer, &nothing], &[&nothing, &layer], &[&layer, &layer, &layer]] {
                prop_assert_eq!(merged(&base, others).unwrap(), layer.clone());
            }
        }

        #[test]
        fn what_nobody_minds_never_conflicts(base in testing::trees(), left in testing::edits(), right in testing::edits()) {
            let (base, mut left, mut right) = branches(&base, &left, &right);
            for layer in [&mut left, &mut right] {
                layer.mark(|_, _| Mark::Ignored);
            }
            let layer = merged(&base, &[&left, &right]).unwrap();
            let mut tree = base.clone();
            layer.apply(&mut tree).unwrap();
            prop_assert_eq!(tree.misplaced(), None);
        }
    }

    fn branches(base: &testing::Tree, left: &[testing::Edit], right: &[testing::Edit]) -> (Manifest, Layer, Layer) {
        let start = testing::manifest(base);
        let layer = |edits: &[testing::Edit]| {
            let mut tree = base.clone();
            for edit in edits {
                edit.make(&mut tree);
            }
            Layer::between(&start, &testing::manifest(&tree))
        };
        let (left, right) = (layer(left), layer(right));
        (start, left, right)
    }

    /// Branches over a tree with `a`, `d/a` and `d/e/b`, each edit as `+path text`, `-path` or `x path` (executable), and what comes of it.
    #[test]
    fn branches_meet() {
        let base = "+a one\n+d/a one\n+d/e/b one";
        for (name, left, right, expected) in [
            ("apart", "+a two", "+d/a two", "a d/a"),
            ("the same", "+a two\n+n x", "+a two\n+n x", "a n"),
            ("changed twice", "+a two", "+a three", "conflict a"),
            ("changed and removed", "+a two", "-a", "conflict a"),
            ("made twice", "+n x", "+n y", "conflict n"),
            ("removed twice", "-d", "-d/e", "d- d/a- d/e- d/e/b-"),
            ("mode and content", "xa", "+a two", "conflict a"),
            ("renamed in one, edited in the other", "-a\n+z one", "+a two", "conflict a"),
            ("renamed in both, apart", "-a\n+z one", "-a\n+y one", "a- y z"),
            ("a removed folder stays for what is new in it", "-d", "+d/n x", "d/a- d/e- d/e/b- d/n"),
            ("deeper", "-d", "+d/e/n x", "d/a- d/e/b- d/e/n"),
            ("a file for a folder", "-d\n+d x", "+d/n x", "conflict d"),
            ("a folder for a file", "-a\n+a/n x", "+a two", "conflict a"),
            ("a file for a folder that the other left alone", "-d\n+d x", "+a two", "a d d/a- d/e- d/e/b-"),
            (
                "outputs",
                "+.coverage x\n+__pycache__/n x",
                "+.coverage y\n+__pycache__/n y",
                ".coverage __pycache__ __pycache__/n",
            ),
        ] {
            let marks = crate::marks::Marks::new(
                std::path::Path::new("/nowhere"),
                std::path::Path::new("/nowhere"),
                BTreeSet::new(),
            );
            let tree = |edits: &str| {
                let mut tree = testing::Tree::new();
                testing::edit_tree(&mut tree, base);
                testing::edit_tree(&mut tree, edits);
                tree
            };
            let start = testing::manifest(&tree(""));
            let [left, right] = [left, right].map(|edits| {
                let mut layer = Layer::between(&start, &testing::manifest(&tree(edits)));
                marks.mark(&mut layer);
                layer
            });
            for (order, layers) in [("there", [&left, &right]), ("back", [&right, &left])] {
                let told = match merged(&start, &layers) {
                    Err(conflicts) => format!("conflict {}", conflicts.join(" ")),
                    Ok(layer) => {
                        if let Some(change) = layer.get(&TreePath::new(".coverage").unwrap()) {
                            assert_eq!(
                                change,
                                layers[1].get(&TreePath::new(".coverage").unwrap()).unwrap(),
                                "the later wins"
                            );
                        }
                        let said = |(path, change): (&TreePath, &Change)| {
                            format!("{path}{}", if change.after.is_none() { "-" } else { "" })
                        };
                        layer.iter().map(said).collect::<Vec<_>>().join(" ")
                    }
                };
                assert_eq!(told, expected, "{name}, {order}");
            }
        }
    }

    #[test]
    fn a_conflict_names_the_path_and_both_steps() {
        let mut tree = testing::Tree::new();
        testing::edit_tree(&mut tree, "+a one");
        let layer = Layer::between(&Manifest::default(), &testing::manifest(&tree));
        testing::edit_tree(&mut tree, "+a two");
        let other = Layer::between(&Manifest::default(), &testing::manifest(&tree));
        let steps = steps();
        let branches = [Branch { step: &steps[0], layer: &layer }, Branch { step: &steps[2], layer: &other }];
        let error = merge(&Manifest::default(), &branches).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), ("the steps one and three both changed a", "RT-0275"));
    }
}
