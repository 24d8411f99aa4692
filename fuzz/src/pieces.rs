//! A stream that arrives in pieces of any size.

/// Splits an input into pieces, whose sizes its first four bytes give in turn, and the stream that they make up.
pub(crate) fn pieces(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((sizes, stream)) = input.split_at_checked(4) else { return (Vec::new(), &[]) };
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*size) + 1));
        pieces.push(piece);
        rest = after;
    }
    (pieces, stream)
}
