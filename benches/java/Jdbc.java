package waitroom;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.Types;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** JDBC without Hibernate. */
final class Jdbc {
    private static final String BOOKING =
            "bookings (sale_id, status, hold_expires_at, id, grant_id, visitor_id, seats, together, nth)";
    private static final String SEAT = "booked_seats (sale_id, seat_id, booking_id)";

    private Jdbc() {}

    private static Connection connect(String url) throws Exception {
        Connection connection = DriverManager.getConnection(url);
        connection.setAutoCommit(false);
        return connection;
    }

    /** addBatch; the driver makes multi-row VALUES of it. */
    static Main.Writer batch(String url) throws Exception {
        Connection connection = connect(url);
        PreparedStatement booking =
                connection.prepareStatement("INSERT INTO " + BOOKING + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        PreparedStatement seat = connection.prepareStatement("INSERT INTO " + SEAT + " VALUES (?, ?, ?)");
        return batch -> {
            for (Row row : batch.rows()) {
                booking.setString(1, row.sale());
                booking.setString(2, Row.STATUS);
                booking.setNull(3, Types.TIMESTAMP_WITH_TIMEZONE);
                booking.setObject(4, row.id());
                booking.setObject(5, row.grant());
                booking.setString(6, row.visitor());
                booking.setArray(7, connection.createArrayOf("text", row.seats()));
                booking.setBoolean(8, true);
                booking.setInt(9, 0);
                booking.addBatch();
            }
            booking.executeBatch();
            for (Row.Seat taken : batch.seats()) {
                seat.setString(1, taken.sale());
                seat.setString(2, taken.seat());
                seat.setObject(3, taken.booking().id());
                seat.addBatch();
            }
            seat.executeBatch();
            connection.commit();
        };
    }

    /** COPY in text, as the driver's CopyManager is mostly used. No value of ours needs escaping. */
    static Main.Writer copy(String url) throws Exception {
        Connection connection = connect(url);
        CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
        return batch -> {
            StringBuilder rows = new StringBuilder();
            for (Row row : batch.rows()) {
                rows.append(row.sale()).append('\t').append(Row.STATUS).append("\t\\N\t");
                rows.append(row.id()).append('\t').append(row.grant()).append('\t').append(row.visitor());
                rows.append("\t{").append(String.join(",", row.seats())).append("}\tt\t0\n");
            }
            send(copies, BOOKING, rows);
            rows.setLength(0);
            for (Row.Seat taken : batch.seats()) {
                rows.append(taken.sale()).append('\t').append(taken.seat()).append('\t');
                rows.append(taken.booking().id()).append('\n');
            }
            send(copies, SEAT, rows);
            connection.commit();
        };
    }

    private static void send(CopyManager copies, String into, StringBuilder rows) throws Exception {
        byte[] bytes = rows.toString().getBytes(StandardCharsets.UTF_8);
        copies.copyIn("COPY " + into + " FROM STDIN", new ByteArrayInputStream(bytes));
    }
}
