//! Items of stored responses that a request refers to: those of the response that it continues, and single ones.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::input::InputItem;
use crate::{
    error::{Error, Kind, Result},
    http::{
        HttpState,
        extract::{body::LARGE_BYTES, fields::Fields, object::Object},
        middleware::auth::Caller,
    },
    store::responses::{Chain, ResponseId, StoredResponse},
};

/// Maximum number of references in an input: each is read from the file.
const MAX_REFERENCES: usize = 256;

const POINTER: &str = "/previous_response_id";

/// Items of a response.
#[derive(Deserialize)]
struct OutputOf<T> {
    output: Vec<T>,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

/// The response that is continued, and the items of its whole conversation with their bytes as JSON.
pub(super) struct Earlier {
    pub(super) id: Option<ResponseId>,
    pub(super) items: Vec<InputItem>,
    pub(super) bytes: usize,
}

/// Reads the conversation of the response with this id.
///
/// # Errors
/// `Invalid` when the caller has no such response, or when it cannot be continued.
pub(super) async fn earlier(id: Option<&str>, state: &HttpState, caller: &Caller) -> Result<Earlier> {
    let Some(text) = id else { return Ok(Earlier { id: None, items: Vec::new(), bytes: 0 }) };
    let Some(id) = ResponseId::parse(text) else { return Err(no_previous("is not the id of a response")) };
    let chain = match state.app.responses().chain(&caller.principal, id, state.max_body).await? {
        Chain::Complete(chain) => chain,
        Chain::Missing(missing) if missing == id => {
            return Err(no_previous("is not the id of a stored response; it may have expired"));
        }
        Chain::Missing(_) => return Err(no_previous("continues a response that was deleted")),
        Chain::TooLarge => {
            let detail = "belongs to a conversation that is larger than a request may be; begin a new one";
            return Err(Error::field(POINTER, detail).of_kind(Kind::TooLarge));
        }
    };
    if chain.iter().any(|response| !response.is_finished) {
        return Err(Error::field(POINTER, "is the id of a response that is not completed"));
    }
    let bytes = chain.iter().map(|response| response.input.len() + response.body.len()).sum();
    let items = parse(chain, bytes).await?;
    Ok(Earlier { id: Some(id), items, bytes })
}

fn no_previous(detail: &str) -> Error {
    Error::field(POINTER, detail).with_code("previous_response_not_found")
}

async fn parse(chain: Vec<StoredResponse>, bytes: usize) -> Result<Vec<InputItem>> {
    let parse = move || {
        let mut items: Vec<InputItem> = Vec::new();
        for StoredResponse { input, body, .. } in &chain {
            let input: Vec<Object<InputItem>> = serde_json::from_str(input)?;
            let OutputOf::<Object<InputItem>> { output } = serde_json::from_str(body)?;
            items.extend(input.into_iter().chain(output).map(|Object(item)| item));
        }
        Ok(items)
    };
    let parsed = match bytes < LARGE_BYTES {
        true => parse(),
        false => tokio::task::spawn_blocking(parse).await.map_err(unreadable)?,
    };
    // Its message may have what was said.
    parsed.map_err(|_: serde_json::Error| unreadable("its items are not ours"))
}

fn unreadable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Internal, "A stored response cannot be read.").with_source(source)
}

/// Puts the items that are referred to into the place of their references. Returns the items and the bytes of those
/// that were read.
///
/// # Errors
/// `Invalid` for a reference to an item that the caller does not have.
pub(super) async fn resolve(
    items: Vec<Object<InputItem>>,
    state: &HttpState,
    caller: &Caller,
) -> Result<(Vec<InputItem>, usize)> {
    let references = items.iter().filter(|Object(item)| item.reference().is_some()).count();
    if references > MAX_REFERENCES {
        return Err(Error::field("/input", format!("may have at most {MAX_REFERENCES} item references")));
    }
    let (mut resolved, mut bytes) = (Vec::with_capacity(items.len()), 0);
    for (index, Object(item)) in items.into_iter().enumerate() {
        let Some(id) = item.reference() else {
            resolved.push(item);
            continue;
        };
        let (pointer, mut fields) = (format!("/input/{index}"), Fields::default());
        item.check(&pointer, &mut fields);
        fields.finish()?;
        let Some(found) = find(id, state, caller).await? else {
            let detail = "must be the id of an item of a stored response";
            return Err(Error::field(format!("{pointer}/id"), detail));
        };
        bytes += found.get().len();
        if bytes > state.max_body {
            let detail = "refers to items that are larger together than a request may be";
            return Err(Error::field("/input", detail).of_kind(Kind::TooLarge));
        }
        let Object(item) =
            serde_json::from_str(found.get()).map_err(|_| unreadable("its items are not ours"))?;
        resolved.push(item);
    }
    Ok((resolved, bytes))
}

/// The JSON of an item. Its id has the digits of its response in it.
async fn find(id: &str, state: &HttpState, caller: &Caller) -> Result<Option<Box<RawValue>>> {
    let digits = id.split_once('_').and_then(|(_, rest)| rest.get(..32));
    let Some(response) = digits.and_then(ResponseId::of_digits) else { return Ok(None) };
    let Some((stored, _)) = state.app.responses().get(&caller.principal, response).await? else {
        return Ok(None);
    };
    let is_it = |item: &&RawValue| {
        serde_json::from_str::<Identified>(item.get()).is_ok_and(|identified| identified.id == id)
    };
    let ours = |_| unreadable("its items are not ours");
    let input: Vec<&RawValue> = serde_json::from_str(&stored.input).map_err(ours)?;
    let OutputOf::<&RawValue> { output } = serde_json::from_str(&stored.body).map_err(ours)?;
    Ok(input.into_iter().chain(output).find(is_it).map(ToOwned::to_owned))
}
