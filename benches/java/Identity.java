package waitroom;

import java.util.Date;
import java.util.UUID;
import javax.persistence.Column;
import javax.persistence.Entity;
import javax.persistence.GeneratedValue;
import javax.persistence.GenerationType;
import javax.persistence.Id;
import javax.persistence.Table;
import org.hibernate.annotations.Proxy;
import org.hibernate.annotations.Type;

/** Entities whose keys the database draws, as most programs have them. */
final class Identity {
    private Identity() {}

    @Entity(name = "IdentityBooking")
    @Table(name = "identity_bookings")
    @Proxy(lazy = false)
    static class Booking {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
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
            sale = row.sale();
            status = Row.STATUS;
            grant = row.grant();
            visitor = row.visitor();
            seats = row.seats();
            together = true;
        }
    }

    @Entity(name = "IdentitySeat")
    @Table(name = "identity_booked_seats")
    @Proxy(lazy = false)
    static class Seat {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
        @Column(name = "sale_id") String sale;
        @Column(name = "seat_id") String seat;
        @Column(name = "booking_id") Long booking;

        Seat() {}

        Seat(Row.Seat taken, Long booking) {
            sale = taken.sale();
            seat = taken.seat();
            this.booking = booking;
        }
    }
}
