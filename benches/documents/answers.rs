//! Answers of the model: whether they have the words that they must have, and what becomes of questions that the
//! documents do not answer.

use serde_json::{Value, json};

use crate::{
    questions::{Question, Set},
    server::Server,
    setting,
    support::{
        Result,
        report::{Values, heading},
    },
};

/// Ways to say that the documents have no answer.
const DENIALS: [&str; 14] = [
    "not contain",
    "not provide",
    "not mention",
    "not include",
    "not specif",
    "not have",
    "not found",
    "not available",
    "not described",
    "not discuss",
    "not address",
    "not in the",
    "no information",
    "no mention",
];

#[derive(Default)]
struct Counts {
    asked: usize,
    right: usize,
    /// Answers with a right passage among their sources.
    found: usize,
    /// Right answers that name the number of a right passage.
    cited: usize,
    denied: usize,
    /// Answers without a call of the model.
    stopped: usize,
}

pub async fn measure(server: &Server, set: &Set) -> Result<()> {
    let (limit, mode) = (setting("QUESTIONS", 30_usize)?, setting("MODE", "vector".to_owned())?);
    let show = setting("SHOW", 0)? > 0;
    let mut seconds = Values::default();
    let (mut with, mut without) = (Counts::default(), Counts::default());
    heading(&format!("Answers from the {}, mode {mode}", set.name));
    let unanswered = (limit / 5).min(set.unanswered.len());
    for question in spread(&set.answered, limit - unanswered).chain(spread(&set.unanswered, unanswered)) {
        let query = json!({
            "query": question.question, "collection": set.name, "mode": mode, "temperature": 0, "max_tokens": 200
        });
        let reply = server.post("/rag/query", &query).await?;
        seconds.add(reply.seconds);
        let counts = if question.phrases.is_empty() { &mut without } else { &mut with };
        if !counts.add(question, &reply.body) && show {
            println!("      {}\n        {}", question.question, reply.body["answer"]);
        }
    }
    println!(
        "  with an answer in them: {} of {} right; {} had a right passage, {} of the right ones refer to it; {} said that there is none",
        with.right, with.asked, with.found, with.cited, with.denied
    );
    println!(
        "  without: {} of {} said so, {} of them without asking the model",
        without.right, without.asked, without.stopped
    );
    println!("  an answer took {:.1} s, median", seconds.median());
    Ok(())
}

impl Counts {
    /// Whether the answer was right.
    fn add(&mut self, question: &Question, reply: &Value) -> bool {
        let sources = reply["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let answer = reply["answer"].as_str().unwrap_or_default();
        let denies = DENIALS.iter().any(|denial| answer.to_lowercase().contains(denial));
        let is_unanswered = question.phrases.is_empty();
        let is_right =
            if is_unanswered { denies } else { !sources.is_empty() && question.is_answered_by(answer) };
        let mut passages =
            sources.iter().filter(|source| question.is_in(source["content"].as_str().unwrap_or_default()));
        let is_found = passages.clone().next().is_some();
        let is_cited = passages.any(|source| answer.contains(&format!("[{}]", source["number"])));
        self.asked += 1;
        self.right += usize::from(is_right);
        self.found += usize::from(is_found);
        self.cited += usize::from(is_right && is_cited);
        self.denied += usize::from(denies);
        self.stopped += usize::from(sources.is_empty());
        is_right
    }
}

/// So many of the questions, from all parts of the documents.
fn spread(questions: &[Question], wanted: usize) -> impl Iterator<Item = &Question> {
    let wanted = wanted.min(questions.len());
    (0..wanted).map(move |at| &questions[at * questions.len() / wanted])
}
