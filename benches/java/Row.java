package waitroom;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;

/** A booking and its two seats, as benches/bookings/rows.rs makes them. */
record Row(String sale, UUID id, UUID grant, String visitor, String[] seats) {
    static final String STATUS = "confirmed";
    /** Spreads neighbours in time over the hall. */
    private static final int SPREAD = 7_919;

    record Seat(String sale, String seat, Row booking) {}

    /** Sorted by grant, and the seats by seat. */
    record Batch(List<Row> rows, List<Seat> seats) {}

    static List<Batch> batches(String sale, int size, int connection, int connections, int bookings) {
        List<Batch> batches = new ArrayList<>();
        for (int from = 0; from < bookings; from += size) {
            List<Row> rows = new ArrayList<>();
            for (int i = from; i < Math.min(from + size, bookings); i++) {
                long pair = (long) (connection * bookings + i) * SPREAD % ((long) bookings * connections);
                String visitor = "visitor-" + UUID.randomUUID().toString().replace("-", "");
                String[] seats = {seat(2 * pair), seat(2 * pair + 1)};
                rows.add(new Row(sale, versionSeven(), UUID.randomUUID(), visitor, seats));
            }
            rows.sort(Comparator.comparing(row -> row.grant().toString()));
            List<Seat> seats = new ArrayList<>();
            for (Row row : rows) {
                for (String seat : row.seats()) {
                    seats.add(new Seat(sale, seat, row));
                }
            }
            seats.sort(Comparator.comparing(Seat::seat));
            batches.add(new Batch(rows, seats));
        }
        return batches;
    }

    private static String seat(long number) {
        return "A-" + number / 50 + "-" + number % 50;
    }

    /** A UUID that begins with the time, as the Rust ways use it. */
    private static UUID versionSeven() {
        UUID random = UUID.randomUUID();
        long high = System.currentTimeMillis() << 16 | 0x7000 | random.getMostSignificantBits() & 0xfff;
        return new UUID(high, random.getLeastSignificantBits());
    }
}
