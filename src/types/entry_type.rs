//! Types of cached answers, and one value for each of them. Whatever is kept of a type, in memory, on disk
//! or in Redis, goes by its name.

use std::{
    collections::BTreeMap,
    iter::Sum,
    ops::{AddAssign, Index, IndexMut},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Type of a cached answer: the prefix of its key, and the label of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryType {
    Embedding,
    Inference,
    Chat,
    Vision,
}

impl EntryType {
    pub const ALL: [Self; 4] = [Self::Embedding, Self::Inference, Self::Chat, Self::Vision];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Inference => "inference",
            Self::Chat => "chat",
            Self::Vision => "vision",
        }
    }
}

/// One value for each type of entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerType<T> {
    embedding: T,
    inference: T,
    chat: T,
    vision: T,
}

impl<T> PerType<T> {
    pub fn new(mut value: impl FnMut(EntryType) -> T) -> Self {
        Self {
            embedding: value(EntryType::Embedding),
            inference: value(EntryType::Inference),
            chat: value(EntryType::Chat),
            vision: value(EntryType::Vision),
        }
    }

    /// All values with their types.
    pub fn iter(&self) -> impl Iterator<Item = (EntryType, &T)> {
        EntryType::ALL.into_iter().map(|entry_type| (entry_type, &self[entry_type]))
    }

    pub fn sum<'a>(&'a self) -> T
    where
        T: Copy + Sum<&'a T>,
    {
        self.iter().map(|(_, value)| value).sum()
    }
}

/// The default for those that are not named.
impl<T: Default, const N: usize> From<[(EntryType, T); N]> for PerType<T> {
    fn from(values: [(EntryType, T); N]) -> Self {
        let mut all = Self::new(|_| T::default());
        for (entry_type, value) in values {
            all[entry_type] = value;
        }
        all
    }
}

impl<T> Index<EntryType> for PerType<T> {
    type Output = T;

    fn index(&self, entry_type: EntryType) -> &T {
        match entry_type {
            EntryType::Embedding => &self.embedding,
            EntryType::Inference => &self.inference,
            EntryType::Chat => &self.chat,
            EntryType::Vision => &self.vision,
        }
    }
}

impl<T> IndexMut<EntryType> for PerType<T> {
    fn index_mut(&mut self, entry_type: EntryType) -> &mut T {
        match entry_type {
            EntryType::Embedding => &mut self.embedding,
            EntryType::Inference => &mut self.inference,
            EntryType::Chat => &mut self.chat,
            EntryType::Vision => &mut self.vision,
        }
    }
}

impl<T: AddAssign + Copy> AddAssign for PerType<T> {
    fn add_assign(&mut self, other: Self) {
        for (entry_type, value) in other.iter() {
            self[entry_type] += *value;
        }
    }
}

/// A map from names to values, without those that are the default.
impl<T: Default + PartialEq + Serialize> Serialize for PerType<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let default = T::default();
        let kept = self.iter().filter(|(_, value)| **value != default);
        let kept: Vec<_> = kept.map(|(entry_type, value)| (entry_type.as_str(), value)).collect();
        serializer.collect_map(kept)
    }
}

/// Names that are not known are passed over: a type that is gone leaves nothing to count.
impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for PerType<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values: BTreeMap<String, T> = BTreeMap::deserialize(deserializer)?;
        Ok(Self::new(|entry_type| values.remove(entry_type.as_str()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_own_value() {
        let mut lengths = PerType::new(|entry_type| entry_type.as_str().len());
        for (entry_type, length) in lengths.iter() {
            assert_eq!(*length, entry_type.as_str().len());
        }
        lengths[EntryType::Chat] += 1;
        lengths += PerType::new(|_| 1);
        assert_eq!((lengths[EntryType::Chat], lengths[EntryType::Vision]), (6, 7));
        assert_eq!(lengths.sum(), 10 + 10 + 6 + 7);
    }

    #[test]
    fn values_are_written_by_name() {
        let counts = PerType { chat: 3, vision: 4, ..PerType::default() };
        let json = serde_json::to_string(&counts).expect("plain data");
        assert_eq!(json, r#"{"chat":3,"vision":4}"#);
        let read = serde_json::from_str::<PerType<u64>>(r#"{"vision":4,"speech":9,"chat":3}"#);
        assert_eq!(read.expect("another order, and a name that is not known"), counts);
        let bytes = postcard::to_allocvec(&counts).expect("plain data");
        assert_eq!(postcard::from_bytes::<PerType<u64>>(&bytes), Ok(counts));
    }
}
