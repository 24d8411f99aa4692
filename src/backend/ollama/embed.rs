//! Embedding over Ollama, which cuts a text that is too long without a word unless it is told not to, and
//! then refuses the whole batch without saying which text it was.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{MAX_EMBED_ANSWER, Ollama, read, read_refusal, refusal};
use crate::{
    backend::{LARGE_BYTES, to_json, work},
    error::{Error, Result},
    http_client::{Request, Retry},
    types::{EmbedReply, EmbedRequest, KeepAlive, Timings},
    wire::ollama::{EmbedAnswer, EmbedBody},
};

/// Common parts of all calls for one request.
struct Batch {
    model: String,
    input: Arc<[String]>,
    keep_alive: Option<KeepAlive>,
}

impl Ollama {
    pub(super) async fn embed_all(&self, request: EmbedRequest) -> Result<EmbedReply> {
        let EmbedRequest { model, mut input, truncate, keep_alive } = request;
        let tokens = self.control_tokens(&model).await;
        input.iter_mut().for_each(|text| tokens.break_up_in(text));
        let batch = Batch { model, input: input.into(), keep_alive };
        let mut reply = EmbedReply::default();
        // A batch that is refused is asked for in halves, until the texts that are too long are found.
        let mut to_ask: Vec<Range<usize>> = Vec::from([Range { start: 0, end: batch.input.len() }]);
        while let Some(part) = to_ask.pop() {
            if let Some(answer) = self.embed_part(&batch, part.clone(), false).await? {
                add(&mut reply, answer);
            } else if part.len() > 1 {
                let middle = part.start + part.len() / 2;
                to_ask.extend([middle..part.end, part.start..middle]);
            } else if truncate && let Some(answer) = self.embed_part(&batch, part.clone(), true).await? {
                reply.truncated.push(part.start);
                add(&mut reply, answer);
            } else {
                let pointer = format!("/input/{}", part.start);
                return Err(Error::field(pointer, "is longer than the model accepts"));
            }
        }
        Ok(reply)
    }

    /// `None` when one of the texts is longer than the model accepts.
    async fn embed_part(
        &self,
        batch: &Batch,
        part: Range<usize>,
        truncate: bool,
    ) -> Result<Option<EmbedAnswer>> {
        let (model, input) = (batch.model.clone(), Arc::clone(&batch.input));
        let keep_alive = batch.keep_alive.map(|keep_alive| keep_alive.to_string());
        let size = input[part.clone()].iter().map(String::len).sum::<usize>();
        let write = move || to_json(&EmbedBody { model: &model, input: &input[part], truncate, keep_alive });
        let body = work(size > LARGE_BYTES, write).await?;
        let response = self.client.send(Request::post("/api/embed", body, Retry::Idempotent)).await?;
        if !response.is_success() {
            let refused = read_refusal(response).await;
            let is_too_long = ["exceed", "context length"].iter().all(|word| refused.text.contains(word));
            return if is_too_long { Ok(None) } else { Err(refusal(refused, &batch.model)) };
        }
        let answer = response.bytes(MAX_EMBED_ANSWER).await?;
        work(answer.len() > LARGE_BYTES, move || read(&answer)).await.map(Some)
    }
}

fn add(reply: &mut EmbedReply, answer: EmbedAnswer) {
    reply.embeddings.extend(answer.embeddings);
    reply.prompt_tokens += answer.prompt_eval_count;
    let Timings { total, load, .. } = &mut reply.timings;
    *total += Duration::from_nanos(answer.total_duration);
    *load += Duration::from_nanos(answer.load_duration);
}
