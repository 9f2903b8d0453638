//! A seating plan as its file has it.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{
    fmt::{self, Formatter},
    marker::PhantomData,
    ops::Deref,
};

#[derive(Deserialize)]
pub(super) struct File {
    pub categories: Vec<Object<Category>>,
    pub zones: Vec<Object<Zone>>,
    #[serde(default, deserialize_with = "lenient")]
    pub stage: Option<Position>,
}
#[derive(Deserialize)]
pub(super) struct Category {
    pub name: String,
}
#[derive(Deserialize)]
pub(super) struct Zone {
    #[serde(default, deserialize_with = "lenient")]
    pub position: Option<Position>,
    #[serde(default)]
    pub rows: Vec<Object<Row>>,
}
#[derive(Deserialize)]
pub(super) struct Row {
    #[serde(default, deserialize_with = "lenient")]
    pub row_number: Option<Label>,
    #[serde(default, deserialize_with = "lenient")]
    pub position: Option<Position>,
    #[serde(default)]
    pub seats: Vec<Object<FileSeat>>,
}
#[derive(Deserialize)]
pub(super) struct FileSeat {
    pub seat_guid: String,
    pub category: String,
    #[serde(default, deserialize_with = "lenient")]
    pub position: Option<Position>,
}
/// What stands as an object: serde would take a list of the values, too, which nobody else who reads the plan does.
pub(super) struct Object<T>(pub T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Label {
    Text(String),
    Number(u64),
}
/// A place in a plan.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Position {
    pub x: f64,
    pub y: f64,
}

/// What only helps to see aisles and which rows are ahead: where it is missing or odd is no reason to refuse a hall.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    // A list of two numbers is no position to the page.
    Ok((!value.is_array()).then(|| serde_json::from_value(value).ok()).flatten())
}
