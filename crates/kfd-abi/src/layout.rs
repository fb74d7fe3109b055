//! Where the fields of the kernel's structures are, as the types of this crate have them.
//!
//! One list, so that `tests/header.rs` can compare every structure with the kernel's header.

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The kernel's name.
    pub name: &'static str,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes that it has.
    pub size: usize,
}

/// A structure.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The kernel's name, which follows `struct`; of arguments the request's.
    pub name: &'static str,
    /// Bytes that it has.
    pub size: usize,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

impl Field {
    /// The field at `offset` that a value is read from.
    #[doc(hidden)]
    pub const fn of<S, F>(name: &'static str, offset: usize, _: fn(&S) -> &F) -> Field {
        Field { name, offset, size: size_of::<F>() }
    }
}

/// The layout of a structure.
macro_rules! layout {
    ($c_name:literal, $name:ident { $($field:ident),* }) => {
        $crate::layout::Layout {
            name: $c_name,
            size: size_of::<$name>(),
            fields: &[$(
                $crate::layout::Field::of(
                    stringify!($field),
                    std::mem::offset_of!($name, $field),
                    |value: &$name| &value.$field,
                ),
            )*],
        }
    };
}

/// Structures with the kernel's layout, and `STRUCTS`, the list of them.
macro_rules! structs {
    ($($c_name:literal $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[doc = concat!("`", $c_name, "`.")]
            #[repr(C)]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $name { $(pub $field: $type,)* }
        )*

        /// The structures above.
        pub const STRUCTS: &[$crate::layout::Layout] =
            &[$($crate::layout::layout!($c_name, $name { $($field),* }),)*];
    };
}

pub(crate) use {layout, structs};
