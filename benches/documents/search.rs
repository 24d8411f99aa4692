//! Search: where the first right passage is, and what a threshold on scores stops.

use serde_json::json;

use crate::{
    questions::{Question, Set},
    server::Server,
    setting,
    support::{
        Result,
        report::{Values, heading},
    },
};

const MODES: [&str; 3] = ["vector", "keyword", "hybrid"];
const TOP_K: usize = 10;
/// The default threshold of `/rag/query` for scores by meaning, in hybrid mode as well.
const THRESHOLD: f64 = 0.22;

/// Result of a search for a question.
struct Found {
    /// Place of the first right passage, from 1 on.
    rank: Option<usize>,
    best_score: f64,
}

pub async fn measure(server: &Server, set: &Set) -> Result<()> {
    let (answered, unanswered) = (set.answered.len(), set.unanswered.len());
    heading(&format!(
        "Search in the {}: {answered} questions with an answer, {unanswered} without",
        set.name
    ));
    for mode in MODES {
        let with = find_all(server, set, &set.answered, mode).await?;
        let without = find_all(server, set, &set.unanswered, mode).await?;
        let hits = with.iter().filter(|found| found.rank.is_some_and(|rank| rank <= 5)).count();
        let reciprocal: f64 = with.iter().filter_map(|found| Some(1.0 / found.rank? as f64)).sum();
        let median =
            |found: &[Found]| found.iter().map(|found| found.best_score).collect::<Values>().median();
        println!(
            "  {mode:<8} hit@5 {:.3}  MRR@{TOP_K} {:.3}   best score, median: {:.2} with an answer, {:.2} without",
            hits as f64 / answered as f64,
            reciprocal / answered as f64,
            median(&with),
            median(&without),
        );
        if mode == "vector" {
            let low = |found: &[Found]| found.iter().filter(|found| found.best_score < THRESHOLD).count();
            println!(
                "           threshold {THRESHOLD}: stops {} of {unanswered} without an answer, loses {} of {answered} with one",
                low(&without),
                low(&with),
            );
        }
        if setting("SHOW", 0)? > 0 {
            let missed =
                set.answered.iter().zip(&with).filter(|(_, found)| found.rank.is_none_or(|rank| rank > 5));
            missed
                .for_each(|(question, _)| println!("      not among the first five: {}", question.question));
        }
    }
    Ok(())
}

async fn find_all(server: &Server, set: &Set, questions: &[Question], mode: &str) -> Result<Vec<Found>> {
    let mut all = Vec::with_capacity(questions.len());
    for question in questions {
        let search =
            json!({"query": question.question, "collection": set.name, "mode": mode, "top_k": TOP_K});
        let body = server.post("/rag/search", &search).await?.body;
        let results = body["results"].as_array().ok_or("no results")?;
        let is_right =
            |result: &serde_json::Value| question.is_in(result["content"].as_str().unwrap_or_default());
        all.push(Found {
            rank: results.iter().position(is_right).map(|at| at + 1),
            best_score: results.first().and_then(|result| result["score"].as_f64()).unwrap_or(0.0),
        });
    }
    Ok(all)
}
