package waitroom;

import java.util.IdentityHashMap;
import java.util.Map;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** A session and a transaction a batch, {@code save()} for each object: what JPA's {@code saveAll()} does. */
final class Hibernates {
    /** As the manual recommends ("10-50"), and a little more. */
    private static final int JDBC_BATCH = 100;

    private Hibernates() {}

    /** As Hibernate must know a key that the database draws at once, it inserts at each save(), one by one. */
    static Main.Connects identity(String url) {
        SessionFactory sessions = sessions(url, Identity.Booking.class, Identity.Seat.class);
        return () -> batch -> {
            Session session = sessions.openSession();
            session.beginTransaction();
            Map<Row, Long> ids = new IdentityHashMap<>();
            for (Row row : batch.rows()) {
                ids.put(row, (Long) session.save(new Identity.Booking(row)));
            }
            for (Row.Seat seat : batch.seats()) {
                session.save(new Identity.Seat(seat, ids.get(seat.booking())));
            }
            session.getTransaction().commit();
            session.close();
        };
    }

    static Main.Connects assigned(String url) {
        SessionFactory sessions = sessions(url, Assigned.Booking.class, Assigned.Seat.class);
        return () -> batch -> {
            Session session = sessions.openSession();
            session.beginTransaction();
            for (Row row : batch.rows()) {
                session.save(new Assigned.Booking(row));
            }
            for (Row.Seat seat : batch.seats()) {
                session.save(new Assigned.Seat(seat));
            }
            session.getTransaction().commit();
            session.close();
        };
    }

    private static SessionFactory sessions(String url, Class<?>... entities) {
        Configuration configuration = new Configuration();
        configuration.setProperty("hibernate.connection.url", url);
        configuration.setProperty("hibernate.connection.driver_class", "org.postgresql.Driver");
        // Hibernate's own pool, which keeps as many connections as there are writers.
        configuration.setProperty("hibernate.connection.pool_size", "16");
        configuration.setProperty("hibernate.dialect", "org.hibernate.dialect.PostgreSQLDialect");
        configuration.setProperty("hibernate.jdbc.batch_size", String.valueOf(JDBC_BATCH));
        configuration.setProperty("hibernate.order_inserts", "true");
        for (Class<?> entity : entities) {
            configuration.addAnnotatedClass(entity);
        }
        return configuration.buildSessionFactory();
    }
}
