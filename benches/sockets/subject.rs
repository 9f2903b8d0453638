//! Who is measured: the server, or a rival.

use crate::{
    crowd::Manners,
    machine,
    rivals::{Kind, Rival, Work},
    stage::{Instance, Stores},
};
use std::time::Duration;

/// Of the sales of one round.
pub struct Sales {
    /// Their ids begin so.
    prefix: String,
    count: usize,
}

impl Sales {
    /// So many, for this instance; none is open yet.
    pub fn make(instance: &Instance, prefix: &str, count: usize, rate: f64) -> Self {
        let sales = Self { prefix: prefix.to_owned(), count };
        sales.ids().for_each(|sale| instance.make_sale(&sale, rate));
        sales
    }

    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map(|n| format!("{}-{n}", self.prefix))
    }

    pub fn paths(&self) -> Vec<String> {
        self.ids().map(|sale| format!("/v1/sales/{sale}/ws")).collect()
    }
}

pub enum Subject {
    Ours(Instance, Sales),
    Rival(Rival),
}

impl Subject {
    /// A fresh process of the server with fresh sales.
    pub fn ours(stores: &Stores, prefix: &str, sales: usize, rate: f64) -> Self {
        let instance = Instance::start(stores);
        let sales = Sales::make(&instance, prefix, sales, rate);
        Self::Ours(instance, sales)
    }

    pub fn rival(kind: Kind, work: Work) -> Self {
        Self::Rival(Rival::start(kind, work))
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Ours(instance, _) => instance.pid(),
            Self::Rival(rival) => rival.pid(),
        }
    }

    pub fn cpu(&self) -> Duration {
        machine::cpu(self.pid())
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Ours(instance, _) => instance.port,
            Self::Rival(rival) => rival.port,
        }
    }

    /// Of a crowd that waits there.
    pub fn manners(&self) -> Manners {
        match self {
            Self::Ours(instance, sales) => Manners::waiting(instance.port, sales.paths()),
            Self::Rival(..) => {
                Manners { joins: false, ..Manners::waiting(self.port(), vec!["/".to_owned()]) }
            }
        }
    }

    /// The sales open; a rival pushes by itself.
    pub fn open(&self) {
        if let Self::Ours(instance, sales) = self {
            sales.ids().for_each(|sale| instance.open(&sale));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // What goes on of them would be in the next one's figures.
        if let Self::Ours(instance, sales) = self {
            sales.ids().for_each(|sale| instance.close(&sale));
        }
    }
}
