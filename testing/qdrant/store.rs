//! Collections and points in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use ::qdrant_client::qdrant::{
    point_id::PointIdOptions, query::Variant, vector_input::Variant as Input, vectors::VectorsOptions,
    vectors_config::Config, with_payload_selector, with_vectors_selector, *,
};
use tonic::Status;

use super::filter::matches;

#[derive(Default)]
pub struct Store {
    pub collections: BTreeMap<String, Collection>,
}

pub struct Collection {
    dimensions: HashMap<String, u64>,
    sparse: HashSet<String>,
    pub points: BTreeMap<u128, Point>,
}

pub struct Point {
    pub payload: HashMap<String, Value>,
    vectors: HashMap<String, vector::Vector>,
}

impl Store {
    pub fn collection(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(name).ok_or_else(missing)
    }
}

impl Collection {
    pub fn new(request: &CreateCollection) -> Result<Self, Status> {
        let config = request.vectors_config.as_ref().and_then(|config| config.config.as_ref());
        let map = match config {
            Some(Config::ParamsMap(map)) => map.map.clone(),
            Some(Config::Params(_)) => return Err(Status::unimplemented("unnamed vectors")),
            None => HashMap::new(),
        };
        if map.values().any(|params| params.distance() != Distance::Dot) {
            return Err(Status::unimplemented("distances other than the dot product"));
        }
        let dimensions = map.into_iter().map(|(name, params)| (name, params.size)).collect();
        let sparse = request.sparse_vectors_config.iter().flat_map(|config| &config.map);
        let sparse = sparse.map(|(name, params)| match params.modifier() {
            Modifier::Idf => Ok(name.clone()),
            Modifier::None => Err(Status::unimplemented("sparse vectors without idf")),
        });
        Ok(Self { dimensions, sparse: sparse.collect::<Result<_, _>>()?, points: BTreeMap::new() })
    }

    pub fn upsert(&mut self, points: Vec<PointStruct>) -> Result<(), Status> {
        for point in points {
            let id = id_of(point.id.as_ref())?;
            let options = point.vectors.and_then(|vectors| vectors.vectors_options);
            let Some(VectorsOptions::Vectors(named)) = options else {
                return Err(Status::invalid_argument("no named vectors"));
            };
            let mut vectors = HashMap::new();
            for (name, vector) in named.vectors {
                let vector = vector.vector.ok_or_else(|| Status::unimplemented("deprecated fields"))?;
                let is_right = match &vector {
                    vector::Vector::Dense(dense) => {
                        self.dimensions.get(&name) == Some(&(dense.data.len() as u64))
                    }
                    vector::Vector::Sparse(sparse) => {
                        let distinct: HashSet<&u32> = sparse.indices.iter().collect();
                        self.sparse.contains(&name)
                            && distinct.len() == sparse.indices.len()
                            && sparse.values.len() == sparse.indices.len()
                    }
                    _ => false,
                };
                if !is_right {
                    return Err(Status::invalid_argument(format!("Wrong input: vector {name}")));
                }
                vectors.insert(name, vector);
            }
            self.points.insert(id, Point { payload: point.payload, vectors });
        }
        Ok(())
    }

    /// Ids of the points that match, ascending.
    pub fn matching(&self, filter: &Filter) -> Vec<u128> {
        self.points.iter().filter(|(_, point)| matches(filter, &point.payload)).map(|(id, _)| *id).collect()
    }

    pub fn change(&mut self, filter: &Filter, change: impl Fn(&mut HashMap<String, Value>)) {
        for id in self.matching(filter) {
            if let Some(point) = self.points.get_mut(&id) {
                change(&mut point.payload);
            }
        }
    }

    pub fn query(&self, request: QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
        let using = request.using.unwrap_or_default();
        let input = match request.query.and_then(|query| query.variant) {
            Some(Variant::Nearest(input)) => input.variant,
            _ => return Err(Status::unimplemented("queries other than nearest")),
        };
        let ids = self.matching(&request.filter.unwrap_or_default());
        let mut found: Vec<(u128, f32)> = match input {
            Some(Input::Dense(dense)) => {
                let score = |id: &u128| match self.points[id].vectors.get(&using) {
                    Some(vector::Vector::Dense(other)) => {
                        Some((*id, dense.data.iter().zip(&other.data).map(|(a, b)| a * b).sum()))
                    }
                    _ => None,
                };
                ids.iter().filter_map(score).collect()
            }
            Some(Input::Sparse(sparse)) => {
                let weights: HashMap<u32, f32> = sparse
                    .indices
                    .iter()
                    .zip(&sparse.values)
                    .map(|(index, value)| (*index, value * self.idf(&using, *index)))
                    .collect();
                let score = |id: &u128| match self.points[id].vectors.get(&using) {
                    Some(vector::Vector::Sparse(other)) => {
                        let pairs = other.indices.iter().zip(&other.values);
                        let shared: Vec<f32> =
                            pairs.filter_map(|(index, value)| Some(weights.get(index)? * value)).collect();
                        (!shared.is_empty()).then(|| (*id, shared.iter().sum()))
                    }
                    _ => None,
                };
                ids.iter().filter_map(score).collect()
            }
            _ => return Err(Status::unimplemented("inputs other than dense and sparse vectors")),
        };
        found.sort_by(|left, right| right.1.total_cmp(&left.1));
        found.truncate(request.limit.unwrap_or(10) as usize);
        Ok(found
            .into_iter()
            .map(|(id, score)| ScoredPoint { id: Some(point_id(id)), score, ..ScoredPoint::default() })
            .collect())
    }

    /// Rarity of a dimension, as Qdrant's documentation has it.
    fn idf(&self, name: &str, index: u32) -> f32 {
        let (mut all, mut having) = (0.0_f32, 0.0_f32);
        for point in self.points.values() {
            if let Some(vector::Vector::Sparse(vector)) = point.vectors.get(name) {
                all += 1.0;
                having += f32::from(u8::from(vector.indices.contains(&index)));
            }
        }
        ((all - having + 0.5) / (having + 0.5) + 1.0).ln()
    }
}

pub fn id_of(id: Option<&PointId>) -> Result<u128, Status> {
    let id = match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Uuid(text)) if text.len() == 36 => {
            u128::from_str_radix(&text.replace('-', ""), 16).ok()
        }
        _ => None,
    };
    id.ok_or_else(|| Status::invalid_argument("no UUID"))
}

pub fn point_id(id: u128) -> PointId {
    let hex = format!("{id:032x}");
    let text = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    PointId { point_id_options: Some(PointIdOptions::Uuid(text)) }
}

pub fn includes_payload(selector: Option<WithPayloadSelector>) -> bool {
    let selector = selector.and_then(|selector| selector.selector_options);
    matches!(selector, Some(with_payload_selector::SelectorOptions::Enable(true)))
}

pub fn included_vectors(selector: Option<WithVectorsSelector>) -> Vec<String> {
    match selector.and_then(|selector| selector.selector_options) {
        Some(with_vectors_selector::SelectorOptions::Include(selector)) => selector.names,
        _ => Vec::new(),
    }
}

pub fn retrieved(id: u128, point: &Point, with_payload: bool, with_vectors: &[String]) -> RetrievedPoint {
    let output = |name: &String| {
        let vector = match point.vectors.get(name)? {
            vector::Vector::Dense(dense) => vector_output::Vector::Dense(dense.clone()),
            vector::Vector::Sparse(sparse) => vector_output::Vector::Sparse(sparse.clone()),
            _ => return None,
        };
        Some((name.clone(), VectorOutput { vector: Some(vector), ..VectorOutput::default() }))
    };
    let vectors = NamedVectorsOutput { vectors: with_vectors.iter().filter_map(output).collect() };
    RetrievedPoint {
        id: Some(point_id(id)),
        payload: if with_payload { point.payload.clone() } else { HashMap::new() },
        vectors: Some(VectorsOutput {
            vectors_options: Some(vectors_output::VectorsOptions::Vectors(vectors)),
        }),
        ..RetrievedPoint::default()
    }
}
