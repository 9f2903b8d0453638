//! What is written: bookings of two seats each, sorted as the product sorts them, so that two batches cannot deadlock.

use uuid::Uuid;

/// Every how manieth booking wants a seat that someone else has or wants too, under contention.
pub const CONTENDED: usize = 10;
/// Spreads neighbours in time over the hall. A prime that divides no number of bookings used here.
const SPREAD: usize = 7_919;

pub struct Row {
    pub id: Uuid,
    pub grant: Uuid,
    pub visitor: String,
    pub seats: [String; 2],
}

pub struct Batch {
    pub sale: String,
    /// By grant.
    pub rows: Vec<Row>,
    /// Seat and booking, by seat.
    pub seats: Vec<(String, Uuid)>,
}

/// What one connection of `connections` writes.
pub struct Share {
    pub connection: usize,
    pub connections: usize,
    pub bookings: usize,
    pub contended: bool,
}

impl Share {
    pub fn batches(&self, sale: &str, size: usize) -> Vec<Batch> {
        let all: Vec<usize> = (0..self.bookings).collect();
        all.chunks(size).map(|chunk| Batch::new(sale, chunk.iter().map(|i| self.row(*i)).collect())).collect()
    }

    fn row(&self, i: usize) -> Row {
        let pairs = self.bookings * self.connections;
        let pair = (self.connection * self.bookings + i) * SPREAD % pairs;
        let mut seats = [seat(2 * pair), seat(2 * pair + 1)];
        if self.contended && i.is_multiple_of(CONTENDED) {
            seats[1] = hot(i / CONTENDED);
        }
        let id = Uuid::now_v7();
        Row { id, grant: Uuid::new_v4(), visitor: format!("visitor-{}", Uuid::new_v4().simple()), seats }
    }

    /// The seats that all connections want.
    pub fn hot(&self) -> Vec<String> {
        (0..self.bookings.div_ceil(CONTENDED)).map(hot).collect()
    }
}

fn seat(number: usize) -> String {
    format!("A-{}-{}", number / 50, number % 50)
}

fn hot(number: usize) -> String {
    format!("H-{number}")
}

impl Batch {
    fn new(sale: &str, mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| row.grant);
        let of = |row: &Row| row.seats.clone().map(|seat| (seat, row.id));
        let mut seats: Vec<_> = rows.iter().flat_map(of).collect();
        seats.sort();
        Self { sale: sale.to_owned(), rows, seats }
    }
}
