package waitroom;

import java.io.Serializable;
import java.util.Date;
import java.util.UUID;
import javax.persistence.Column;
import javax.persistence.Entity;
import javax.persistence.Id;
import javax.persistence.IdClass;
import javax.persistence.Table;
import org.hibernate.annotations.Proxy;
import org.hibernate.annotations.Type;

/** Entities of the real tables, whose keys the program draws: Hibernate can batch them. */
final class Assigned {
    private Assigned() {}

    @Entity(name = "AssignedBooking")
    @Table(name = "bookings")
    @Proxy(lazy = false)
    static class Booking {
        @Id @Type(type = "pg-uuid") UUID id;
        @Column(name = "sale_id") String sale;
        @Column(name = "status") String status;
        @Column(name = "hold_expires_at") Date holdExpiresAt;
        @Column(name = "grant_id") @Type(type = "pg-uuid") UUID grant;
        @Column(name = "visitor_id") String visitor;
        @Column(name = "seats") @Type(type = "waitroom.TextArray") String[] seats;
        @Column(name = "together") boolean together;
        @Column(name = "nth") int nth;

        Booking() {}

        Booking(Row row) {
            id = row.id();
            sale = row.sale();
            status = Row.STATUS;
            grant = row.grant();
            visitor = row.visitor();
            seats = row.seats();
            together = true;
        }
    }

    /** The key of a taken seat. */
    static class SeatKey implements Serializable {
        @Column(name = "sale_id") String sale;
        @Column(name = "seat_id") String seat;

        @Override
        public boolean equals(Object other) {
            return other instanceof SeatKey key && key.sale.equals(sale) && key.seat.equals(seat);
        }

        @Override
        public int hashCode() {
            return 31 * sale.hashCode() + seat.hashCode();
        }
    }

    @Entity(name = "AssignedSeat")
    @Table(name = "booked_seats")
    @IdClass(SeatKey.class)
    @Proxy(lazy = false)
    static class Seat {
        @Id @Column(name = "sale_id") String sale;
        @Id @Column(name = "seat_id") String seat;
        @Column(name = "booking_id") @Type(type = "pg-uuid") UUID booking;

        Seat() {}

        Seat(Row.Seat taken) {
            sale = taken.sale();
            seat = taken.seat();
            booking = taken.booking().id();
        }
    }
}
