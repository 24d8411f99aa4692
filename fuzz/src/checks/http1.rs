//! HTTP/1.1 responses of backends: the same however the network cuts them.

use std::io;

use bytes::{Buf, BytesMut};

use crate::{
    message::{Body, Head},
    pieces::pieces,
};

/// A response: status, body, and whether another may follow.
type Response = (u16, Vec<u8>, bool);

pub fn http1(input: &[u8]) {
    let (pieces, stream) = pieces(input);
    let mut whole = Client::default();
    let read = whole.push(stream);
    let mut cut = Client::default();
    let cut_read = pieces.into_iter().try_for_each(|piece| cut.push(piece));
    assert_eq!(whole.responses, cut.responses);
    assert_eq!(read.as_ref().err().map(io::Error::kind), cut_read.err().map(|error| error.kind()));
    if read.is_ok() {
        assert_eq!(format!("{:?}", whole.reading), format!("{:?}", cut.reading));
        assert_eq!((&whole.data, &whole.arrived), (&cut.data, &cut.arrived));
    }
    assert!(whole.responses.iter().map(|(_, data, _)| data.len()).sum::<usize>() <= stream.len());
    for (status, data, _) in whole.responses.iter().filter(|(_, data, _)| !data.is_empty()) {
        let head = format!("HTTP/1.1 {status:03} \r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", data.len());
        let mut again = Client::default();
        again.push(&[head.as_bytes(), data, b"\r\n0\r\n\r\n"].concat()).expect("a response");
        assert_eq!(again.responses, [(*status, data.clone(), true)]);
    }
}

/// Reads responses as a connection does.
#[derive(Default)]
struct Client {
    arrived: BytesMut,
    reading: Option<Head>,
    /// Body so far of the response that is being read.
    data: Vec<u8>,
    responses: Vec<Response>,
}

impl Client {
    fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        self.arrived.extend_from_slice(piece);
        loop {
            if self.reading.is_none() {
                let Some((length, head)) = Head::parse(&self.arrived)? else { return Ok(()) };
                assert!(length <= self.arrived.len());
                self.arrived.advance(length);
                self.reading = Some(head);
            }
            let Some(head) = &mut self.reading else { return Ok(()) };
            self.data.extend_from_slice(&head.body.take(&mut self.arrived)?);
            if !head.body.is_over() {
                assert!(!matches!(head.body, Body::Length(_)) || self.arrived.is_empty());
                return Ok(());
            }
            self.responses.push((head.status, std::mem::take(&mut self.data), head.is_reusable));
            self.reading = None;
        }
    }
}
