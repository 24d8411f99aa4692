//! The program's reader of forms, where its files expect to be.

#[path = "../../../src/http/extract/fields.rs"]
mod fields;
#[path = "../../../src/http/extract/form.rs"]
pub(super) mod form;
#[path = "../../../src/http/extract/nearest.rs"]
mod nearest;
#[path = "../../../src/http/extract/texts.rs"]
mod texts;
#[path = "../../../src/http/extract/wrong_field.rs"]
mod wrong_field;
