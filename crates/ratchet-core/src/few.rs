//! Sets and maps that mostly hold one or two entries.
//!
//! The smallest tree of the standard library has room for eleven entries, and a large workflow has a tree for every name that one of its texts reads. These take
//! as much memory as what they hold. To add an entry takes time in proportion to those that are there: what may be many is collected at once.

use std::{borrow::Borrow, fmt};

/// Values by name, in the order of the names.
#[derive(Clone, PartialEq, Eq)]
pub struct FewMap<K, V>(Vec<(K, V)>);

/// Names, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct FewSet<T>(FewMap<T, ()>);

impl<K: Ord, V> FewMap<K, V> {
    /// The value of a name.
    pub fn get<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.position(name).ok().map(|position| &self.0[position].1)
    }

    /// Whether there is a value of a name.
    pub fn contains_key<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.position(name).is_ok()
    }

    /// The value of a name, which is added where there is none.
    pub fn or_default(&mut self, name: K) -> &mut V
    where
        V: Default,
    {
        let position = self.position(&name).unwrap_or_else(|position| {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(position, (name, V::default()));
            position
        });
        &mut self.0[position].1
    }

    /// Keeps the entries for which this holds.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K) -> bool) {
        self.0.retain(|(name, _)| keeps(name));
    }

    fn position<Q: Ord + ?Sized>(&self, name: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(other, _)| other.borrow().cmp(name))
    }
}

impl<K, V> FewMap<K, V> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Of several values of one name the last stands.
impl<K: Ord, V> FromIterator<(K, V)> for FewMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(one, _), (other, _)| one < other) {
            entries.reverse();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            entries.dedup_by(|(one, _), (other, _)| one == other);
        }
        entries.shrink_to_fit();
        Self(entries)
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for FewMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T: Ord> FewSet<T> {
    /// Whether this one is among them.
    pub fn contains<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.contains_key(name)
    }

    /// Adds one.
    pub fn insert(&mut self, name: T) {
        self.0.or_default(name);
    }

    /// Keeps those for which this holds.
    pub fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        self.0.retain(keeps);
    }
}

impl<T> FewSet<T> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.keys()
    }
}

impl<T> Default for FewSet<T> {
    fn default() -> Self {
        Self(FewMap::default())
    }
}

impl<T: Ord> FromIterator<T> for FewSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self(names.into_iter().map(|name| (name, ())).collect())
    }
}

impl<T: Ord> Extend<T> for FewSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, names: I) {
        names.into_iter().for_each(|name| self.insert(name));
    }
}

impl<T: fmt::Debug> fmt::Debug for FewSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Entries in an order of their own, some of them twice.
    fn entries(count: u32) -> Vec<(u32, u32)> {
        (0..count).map(|n| (n * 7919 % 53, n)).collect()
    }

    #[test]
    fn they_hold_what_the_trees_of_the_standard_library_hold() {
        for count in [0, 1, 2, 40, 200] {
            let entries = entries(count);
            let (tree, mut few): (BTreeMap<u32, u32>, FewMap<u32, u32>) =
                (entries.iter().copied().collect(), entries.iter().copied().collect());
            assert!(few.iter().eq(tree.iter()), "{count}");
            assert_eq!((format!("{few:?}"), few.is_empty()), (format!("{tree:?}"), tree.is_empty()));
            assert!((0..60).all(|n| few.get(&n) == tree.get(&n) && few.contains_key(&n) == tree.contains_key(&n)));

            let mut one_by_one: FewMap<u32, u32> = FewMap::default();
            for (name, value) in &entries {
                *one_by_one.or_default(*name) = *value;
            }
            assert_eq!(one_by_one, few, "{count}");

            let names = || entries.iter().map(|(name, _)| *name);
            let (tree, mut set): (BTreeSet<u32>, FewSet<u32>) = (names().collect(), names().collect());
            assert_eq!(format!("{set:?}"), format!("{tree:?}"));
            set.extend(names().map(|name| name + 1));
            set.retain(|name| name.is_multiple_of(2));
            few.retain(|name| name.is_multiple_of(2));
            let even = |name: &u32| tree.contains(name) && name.is_multiple_of(2);
            assert!(few.keys().copied().eq((0..60).filter(even)), "{count}");
            assert!(few.keys().all(|name| set.contains(name)));
        }
    }
}
