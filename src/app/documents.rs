//! Documents as text: extracted in a child process, scanned pages read by Tesseract.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{App, Caller, vision::Reader};
use crate::{
    error::{Error, Result},
    images::EncodedImage,
    text::extract::{Extracted, Hints},
};

/// Pages of a document that are read by OCR at most: each takes seconds.
const MAX_OCR_PAGES: usize = 500;
/// Pages of one document that are read at a time.
const PAGES_AT_ONCE: usize = 4;

impl App {
    /// Extracts the text of a document; `pointer` is its place in the request. Pages that are images are read by
    /// Tesseract if it is installed.
    ///
    /// # Errors
    /// Those of `Extractor::extract` and, for a document of images, of `Tesseract::read`.
    pub async fn extract(
        &self,
        caller: &Caller,
        document: Bytes,
        name: Option<String>,
        pointer: &str,
    ) -> Result<Extracted> {
        let begun = Instant::now();
        let extracted = self.read(caller, document, name, pointer).await?;
        self.monitoring.metrics.documents.extracted(begun.elapsed());
        Ok(extracted)
    }

    async fn read(
        &self,
        caller: &Caller,
        document: Bytes,
        name: Option<String>,
        pointer: &str,
    ) -> Result<Extracted> {
        let placed = |error: Error| error.at(|_| pointer.to_owned());
        let mut hints = Hints { name, ..Hints::default() };
        let extracted = self.extractor.extract(document.clone(), hints.clone()).await.map_err(placed)?;
        if extracted.image_pages.is_empty() {
            return Ok(extracted);
        }
        if !self.tesseract.is_installed().await {
            return if extracted.text.is_empty() { Err(scanned(pointer)) } else { Ok(extracted) };
        }
        let pages = &extracted.image_pages;
        if pages.len() > MAX_OCR_PAGES {
            let detail = format!(
                "has more than {MAX_OCR_PAGES} pages that are images; split it into several documents"
            );
            return Err(Error::field(pointer, detail));
        }
        hints.page_texts = self.read_pages(caller, &document, pages).await.map_err(placed)?;
        let read = self.extractor.extract(document, hints).await.map_err(placed)?;
        if read.text.is_empty() {
            return Err(Error::field(pointer, "has no text that could be read in the images of its pages"));
        }
        Ok(read)
    }

    async fn read_pages(
        &self,
        caller: &Caller,
        document: &Bytes,
        pages: &[u32],
    ) -> Result<BTreeMap<u32, String>> {
        let read = async |number: u32| {
            let image = self.extractor.page_image(document.clone(), number).await?;
            let image = self.open_image(EncodedImage::from_bytes(image), "").await?;
            let reply = self.ocr(caller, Reader::Tesseract, image).await?;
            Ok((number, reply.text))
        };
        stream::iter(pages.to_vec()).map(read).buffered(PAGES_AT_ONCE).try_collect().await
    }
}

fn scanned(pointer: &str) -> Error {
    Error::field(
        pointer,
        "has no text, because its pages are images; install Tesseract to have them read (Debian and Ubuntu: apt-get install tesseract-ocr)",
    )
}
