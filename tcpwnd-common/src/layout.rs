//! Compile-time proof that a record has no implicit padding.
//!
//! A hole would be uninitialised kernel memory copied to user space; the verifier refuses some
//! of those and lets others pass.

/// Asserts size and alignment of a struct, and that each listed field begins where the one
/// before it ended and the last one ends where the struct does.
macro_rules! assert_layout {
    ($type:ident, size $size:literal, align $align:literal, { $($field:ident: $field_type:ty),+ $(,)? }) => {
        const _: () = {
            let mut end = 0;
            $(
                assert!(core::mem::offset_of!($type, $field) == end);
                end += core::mem::size_of::<$field_type>();
            )+
            assert!(core::mem::size_of::<$type>() == end);
            assert!(end == $size);
            assert!(core::mem::align_of::<$type>() == $align);
        };
    };
}
pub(crate) use assert_layout;
