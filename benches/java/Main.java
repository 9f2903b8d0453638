package waitroom;

import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Reads what to write, a line each ({@code way sale batch connections bookings-for-each nanoseconds-at-most}), writes
 * it, and answers the nanoseconds that it took, those of CPU, and how many bookings it were. Ends at the end of its input.
 */
final class Main {
    /** A way, with a connection of its own for each writer. */
    interface Writer {
        void write(Row.Batch batch) throws Exception;
    }

    interface Connects {
        Writer connect() throws Exception;
    }

    private static final int CONNECTIONS_MAX = 16;
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    public static void main(String[] arguments) throws Exception {
        // The driver takes its socket from a factory; host and port are said for form's sake.
        String url = "jdbc:postgresql://localhost:5432/waitroom?user=waitroom&sslmode=disable&gssEncMode=disable"
                + "&socketFactory=org.newsclub.net.unix.AFUNIXSocketFactory$FactoryArg&socketFactoryArg=" + arguments[0];
        String rewriting = url + "&reWriteBatchedInserts=true";
        Map<String, List<Writer>> writers = Map.of(
                "identity", connected(Hibernates.identity(url)),
                "assigned", connected(Hibernates.assigned(rewriting)),
                "batch", connected(() -> Jdbc.batch(rewriting)),
                "copy", connected(() -> Jdbc.copy(url)));
        ExecutorService threads = Executors.newFixedThreadPool(CONNECTIONS_MAX);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            System.out.println(measure(threads, writers.get(words[0]), words));
        }
        threads.shutdown();
    }

    private static List<Writer> connected(Connects way) throws Exception {
        List<Writer> writers = new ArrayList<>();
        for (int i = 0; i < CONNECTIONS_MAX; i++) {
            writers.add(way.connect());
        }
        return writers;
    }

    private static String measure(ExecutorService threads, List<Writer> writers, String[] words) throws Exception {
        int size = Integer.parseInt(words[2]);
        int connections = Integer.parseInt(words[3]);
        int bookings = Integer.parseInt(words[4]);
        long nanosMax = Long.parseLong(words[5]);
        CyclicBarrier start = new CyclicBarrier(connections + 1);
        List<Future<Integer>> running = new ArrayList<>();
        for (int connection = 0; connection < connections; connection++) {
            Writer writer = writers.get(connection);
            List<Row.Batch> batches = Row.batches(words[1], size, connection, connections, bookings);
            running.add(threads.submit(() -> {
                start.await();
                long begun = System.nanoTime();
                int written = 0;
                for (Row.Batch batch : batches) {
                    writer.write(batch);
                    written += batch.rows().size();
                    if (System.nanoTime() - begun > nanosMax) {
                        break;
                    }
                }
                return written;
            }));
        }
        long cpu = SYSTEM.getProcessCpuTime();
        long started = System.nanoTime();
        start.await();
        int written = 0;
        for (Future<Integer> writing : running) {
            written += writing.get();
        }
        long nanos = System.nanoTime() - started;
        return nanos + " " + (SYSTEM.getProcessCpuTime() - cpu) + " " + written;
    }
}
