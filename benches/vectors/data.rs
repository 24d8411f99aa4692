//! Synthetic documents: vectors of a Gaussian mixture, whose dimensions differ in weight and are mixed with each other
//! as in a model's, and texts whose words are as unequally frequent as in a language.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use simpleton::vectors::{
    Chunk, CollectionName, DocumentId, Embedding, Metadata, NewDocument, ranking::normalize,
};

use crate::support::Result;

pub const DIMENSION: usize = 384;
pub const CHUNKS_PER_DOCUMENT: usize = 20;

/// One of 100 values of the metadata `shard`.
pub const SHARDS: usize = 100;

const CLUSTERS: usize = 1_500;
const QUERIES: usize = 200;
const WORDS_PER_CHUNK: usize = 150;
const VOCABULARY: f32 = 30_000.0;

/// Dimensions that are mixed with each other.
const BLOCK: usize = 128;

pub struct Data {
    pub vectors: Vec<Vec<f32>>,
    pub queries: Vec<Vec<f32>>,
    pub texts: Vec<String>,
}

pub fn embedding() -> Embedding {
    Embedding { model: "synthetic".to_owned(), dimension: DIMENSION }
}

impl Data {
    pub fn new(chunks: usize) -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| gaussian(&mut random)).collect();
        let mut vectors: Vec<Vec<f32>> =
            (0..chunks + QUERIES).map(|_| near_one_of(&centres, &mut random)).collect();
        let queries = vectors.split_off(chunks);
        let texts = (0..chunks + QUERIES).map(|_| text(&mut random)).collect();
        Self { vectors, queries, texts }
    }

    /// The document with this number: 20 chunks from there on.
    pub fn document(&self, collection: &CollectionName, number: usize) -> Result<NewDocument> {
        let first = number * CHUNKS_PER_DOCUMENT;
        let mut content = String::new();
        let chunks = (first..first + CHUNKS_PER_DOCUMENT).map(|at| {
            let char_start = content.len() as u64;
            content += &self.texts[at];
            Chunk {
                char_start,
                char_end: content.len() as u64,
                content: self.texts[at].clone(),
                metadata: Metadata::from_iter([("page".to_owned(), (at - first).into())]),
                vector: self.vectors[at].clone(),
            }
        });
        let chunks = chunks.collect();
        Ok(NewDocument {
            id: Some(DocumentId::new(format!("{collection}/{number}"))?),
            title: None,
            metadata: Metadata::from_iter([("shard".to_owned(), (number % SHARDS).into())]),
            content,
            chunks,
        })
    }
}

fn near_one_of(centres: &[Vec<f32>], random: &mut StdRng) -> Vec<f32> {
    let spread = random.random_range(0.5..1.2);
    let centre = &centres[random.random_range(0..centres.len())];
    let mut vector: Vec<f32> =
        centre.iter().zip(gaussian(random)).map(|(centre, noise)| centre + spread * noise).collect();
    // All on one side, as many models have them.
    vector[0] += 3.0;
    vector.chunks_exact_mut(BLOCK).for_each(mix);
    normalize(&mut vector);
    vector
}

/// Normally distributed numbers, whose weight decreases from dimension to dimension.
fn gaussian(random: &mut StdRng) -> Vec<f32> {
    let mut weight: f32 = 0.0;
    let mut next = || {
        weight += 1.0;
        let (radius, angle): (f32, f32) = (1.0 - random.random::<f32>(), random.random());
        (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos() * weight.powf(-0.35)
    };
    let numbers: Vec<f32> = (0..DIMENSION).map(|_| next()).collect();
    // Each block has heavy and light dimensions.
    let blocks = DIMENSION / BLOCK;
    (0..DIMENSION).map(|at| numbers[at % BLOCK * blocks + at / BLOCK]).collect()
}

/// The Walsh-Hadamard transform.
fn mix(block: &mut [f32]) {
    let mut half = 1;
    while half < block.len() {
        for start in (0..block.len()).step_by(2 * half) {
            for at in start..start + half {
                let (left, right) = (block[at], block[at + half]);
                (block[at], block[at + half]) = (left + right, left - right);
            }
        }
        half *= 2;
    }
}

/// Words by Zipf's law: the first of them are in most texts.
fn text(random: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..WORDS_PER_CHUNK {
        text += &word(random);
        text.push(' ');
    }
    text
}

pub fn word(random: &mut StdRng) -> String {
    format!("word{}", VOCABULARY.powf(random.random::<f32>()).floor())
}
