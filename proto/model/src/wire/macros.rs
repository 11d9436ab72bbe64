//! Declarations of records and of closed sets of words.

/// A mapping with known fields: the type, its reading and its writing.
///
/// `field: Type = "jsonName"`, and after it optionally `=> rule`, a rule of this field alone (see
/// [`crate::wire::rules`]). `removed` names fields that older releases had; `check` asks whether
/// fields that could be read go together.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal $(=> $rule:expr)?, )*
        }
        $(removed [$($removed:literal),* $(,)?])?
        $(check $check:expr)?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::wire::Wire for $name {
            fn read(
                node: &$crate::text::Node<'_>,
                reader: &mut $crate::wire::Reader,
            ) -> Option<Self> {
                let before = reader.count();
                let mut fields = $crate::wire::Fields::open(node, reader)?;
                $( let $field = fields.field($key, reader, record!(@rule $($rule)?)); )*
                $( fields.removed(&[$($removed),*], reader); )?
                fields.finish(reader);
                let value = Self { $( $field: $field?, )* };
                $(
                    if reader.count() == before {
                        let check: fn(&Self, &mut $crate::wire::At<'_, '_>) = $check;
                        check(&value, &mut $crate::wire::At::new(reader, node));
                    }
                )?
                (reader.count() == before).then_some(value)
            }

            fn write(&self) -> ::serde_json::Value {
                $crate::wire::object()$( .field($key, &self.$field) )*.finish()
            }

            fn expected() -> String {
                "a mapping".into()
            }
        }
    };
    (@rule) => { |_, _, _| true };
    (@rule $rule:expr) => { $crate::wire::rules::field($rule) };
}

/// A closed set of words.
///
/// `[any_case]` takes the words whatever their case; they are written as declared.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $([$case:ident])? {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )*
        }

        impl $name {
            /// The word of the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )*
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::wire::Wire for $name {
            fn read(
                node: &$crate::text::Node<'_>,
                reader: &mut $crate::wire::Reader,
            ) -> Option<Self> {
                let text = node.as_text();
                let equal: fn(&str, &str) -> bool = choice!(@equal $($case)?);
                $(
                    if text.is_some_and(|text| equal(text, $word)) {
                        return Some(Self::$variant);
                    }
                )*
                reader.refuse(node, <Self as $crate::wire::Wire>::expected())
            }

            fn write(&self) -> ::serde_json::Value {
                self.as_str().into()
            }

            fn is_blank(node: &$crate::text::Node<'_>) -> bool {
                node.as_text() == Some("")
            }

            fn expected() -> String {
                let words: &[&str] = &[$( $word ),*];
                format!("one of {}", words.join(", "))
            }
        }
    };
    (@equal any_case) => { |text, word| text.eq_ignore_ascii_case(word) };
    (@equal) => { |text, word| text == word };
}

/// The reading and writing of a type that stands in documents as a string.
///
/// `$parse` makes the value of the text or answers with what is allowed.
macro_rules! textual {
    ($type:ty, $expected:expr, $parse:expr) => {
        impl $crate::wire::Wire for $type {
            fn read(
                node: &$crate::text::Node<'_>,
                reader: &mut $crate::wire::Reader,
            ) -> Option<Self> {
                let parse: fn(&str) -> Result<$type, String> = $parse;
                match node.as_text().map(parse) {
                    Some(Ok(value)) => Some(value),
                    Some(Err(allowed)) => reader.refuse(node, allowed),
                    None => reader.refuse(node, <Self as $crate::wire::Wire>::expected()),
                }
            }

            fn write(&self) -> ::serde_json::Value {
                self.to_string().into()
            }

            fn is_blank(node: &$crate::text::Node<'_>) -> bool {
                node.as_text() == Some("")
            }

            fn expected() -> String {
                $expected.into()
            }
        }
    };
}
