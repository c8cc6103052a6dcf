// Kafka's own Java client against a broker: ordinary and transactional round trips, groups, fencing, what administrators ask.
//
// Run by `java -cp JARS RoundTrips.java HOST:PORT`. Prints a line for each that went well; ends by an exception otherwise.

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class RoundTrips {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static String address;

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        create();
        ordinary();
        compressed();
        group();
        transactions();
        fencing();
        times();
        System.out.println("done");
    }

    private static void create() throws Exception {
        var topics = new ArrayList<NewTopic>();
        for (String name :
                List.of("ordinary", "compressed", "in", "out0", "out1", "fenced", "times")) {
            topics.add(new NewTopic(name, 1, (short) 1));
        }
        topics.add(new NewTopic("shared", 4, (short) 1));
        try (var admin = Admin.create(properties(Map.of()))) {
            admin.createTopics(topics).all().get();
        }
    }

    private static void ordinary() throws Exception {
        send("ordinary", Map.of(), 0, 100);
        try (var consumer = consumer("ordinary", "read_committed")) {
            consumer.subscribe(List.of("ordinary"));
            expect(numbers(0, 100), read(consumer, 100));
            var position = new OffsetAndMetadata(60, "a note");
            consumer.commitSync(Map.of(new TopicPartition("ordinary", 0), position));
        }
        try (var consumer = consumer("ordinary", "read_committed")) {
            consumer.subscribe(List.of("ordinary"));
            expect(numbers(60, 100), read(consumer, 40));
            var partition = new TopicPartition("ordinary", 0);
            expect("a note", consumer.committed(Set.of(partition)).get(partition).metadata());
        }
        System.out.println("ordinary");
    }

    private static void compressed() throws Exception {
        send("compressed", Map.of("compression.type", "gzip", "linger.ms", "50"), 0, 100);
        try (var consumer = consumer("compressed", "read_committed")) {
            consumer.subscribe(List.of("compressed"));
            expect(numbers(0, 100), read(consumer, 100));
        }
        System.out.println("compressed");
    }

    private static void group() throws Exception {
        var first = consumer("shared", "read_committed");
        var second = consumer("shared", "read_committed");
        try (first; second) {
            first.subscribe(List.of("shared"));
            second.subscribe(List.of("shared"));
            waitFor(() -> {
                first.poll(Duration.ofMillis(20));
                second.poll(Duration.ofMillis(20));
                return first.assignment().size() == 2 && second.assignment().size() == 2;
            });
            var all = new TreeSet<Integer>();
            first.assignment().forEach(one -> all.add(one.partition()));
            second.assignment().forEach(one -> all.add(one.partition()));
            expect(Set.of(0, 1, 2, 3), all);
            second.unsubscribe();
            waitFor(() -> {
                first.poll(Duration.ofMillis(20));
                return first.assignment().size() == 4;
            });
        }
        System.out.println("group");
    }

    private static void transactions() throws Exception {
        send("in", Map.of(), 0, 6);
        var in = new TopicPartition("in", 0);
        var outs = Set.of(new TopicPartition("out0", 0), new TopicPartition("out1", 0));
        var settings = Map.<String, Object>of("transactional.id", "java");
        try (var consumer = consumer("loop", "read_committed");
                var producer = producer(settings);
                var admin = Admin.create(properties(Map.of()))) {
            consumer.subscribe(List.of("in"));
            expect(numbers(0, 6), read(consumer, 6));
            producer.initTransactions();
            for (int number = 0; number < 6; number++) {
                producer.beginTransaction();
                for (int partition = 0; partition < 2; partition++) {
                    producer.send(record("out" + partition, number)).get();
                }
                var positions = Map.of(in, new OffsetAndMetadata(number + 1));
                producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
                expect(TransactionState.ONGOING, described(admin).state());
                expect(true, described(admin).topicPartitions().containsAll(outs));
                if (number % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                int saved = number - number % 2 + 1;
                expect((long) saved, consumer.committed(Set.of(in)).get(in).offset());
            }
            var listed = admin.listTransactions().all().get();
            expect(1L, listed.stream().filter(one -> one.transactionalId().equals("java")).count());
        }
        for (int partition = 0; partition < 2; partition++) {
            try (var committed = consumer("committed" + partition, "read_committed");
                    var all = consumer("all" + partition, "read_uncommitted")) {
                committed.subscribe(List.of("out" + partition));
                all.subscribe(List.of("out" + partition));
                expect(List.of("0", "2", "4"), read(committed, 3));
                expect(numbers(0, 6), read(all, 6));
            }
        }
        System.out.println("transactions");
    }

    private static void fencing() throws Exception {
        var settings = Map.<String, Object>of("transactional.id", "fenced");
        try (var old = producer(settings); var successor = producer(settings)) {
            old.initTransactions();
            old.beginTransaction();
            old.send(record("fenced", 1)).get();
            successor.initTransactions();
            try {
                old.commitTransaction();
                throw new AssertionError("a producer that was replaced has committed");
            } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                // As it should be.
            }
            successor.beginTransaction();
            successor.send(record("fenced", 2)).get();
            successor.commitTransaction();
        }
        try (var consumer = consumer("fenced", "read_committed")) {
            consumer.subscribe(List.of("fenced"));
            expect(List.of("2"), read(consumer, 1));
        }
        System.out.println("fencing");
    }

    private static void times() throws Exception {
        var partition = new TopicPartition("times", 0);
        try (var producer = producer(Map.of())) {
            for (int number = 0; number < 3; number++) {
                var timestamp = 1_000L * (number + 1);
                producer.send(new ProducerRecord<>("times", 0, timestamp, "k", "v")).get();
            }
        }
        try (var consumer = consumer("times", "read_committed")) {
            var found = consumer.offsetsForTimes(Map.of(partition, 1_500L)).get(partition);
            expect(1L, found.offset());
            expect(2_000L, found.timestamp());
            expect(0L, consumer.beginningOffsets(Set.of(partition)).get(partition));
            expect(3L, consumer.endOffsets(Set.of(partition)).get(partition));
        }
        System.out.println("times");
    }

    private static TransactionDescription described(Admin admin) throws Exception {
        return admin.describeTransactions(Set.of("java")).description("java").get();
    }

    private static void send(String topic, Map<String, Object> settings, int from, int to)
            throws Exception {
        try (var producer = producer(settings)) {
            for (int number = from; number < to; number++) {
                producer.send(record(topic, number));
            }
            producer.flush();
        }
    }

    private static ProducerRecord<String, String> record(String topic, int number) {
        return new ProducerRecord<>(topic, 0, "k", Integer.toString(number));
    }

    /** So many records, and no more for a while. */
    private static List<String> read(KafkaConsumer<String, String> consumer, int count)
            throws Exception {
        var values = new ArrayList<String>();
        waitFor(() -> {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                values.add(record.value());
            }
            return values.size() >= count;
        });
        consumer.poll(Duration.ofMillis(300)).forEach(record -> values.add(record.value()));
        return values;
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void waitFor(Condition condition) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("it took too long");
            }
        }
    }

    private static KafkaProducer<String, String> producer(Map<String, Object> settings) {
        var serializer = new StringSerializer();
        return new KafkaProducer<>(properties(settings), serializer, serializer);
    }

    private static KafkaConsumer<String, String> consumer(String group, String isolation) {
        var settings = Map.<String, Object>of(
                "group.id", group,
                "isolation.level", isolation,
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "heartbeat.interval.ms", "100");
        var deserializer = new StringDeserializer();
        return new KafkaConsumer<>(properties(settings), deserializer, deserializer);
    }

    private static Properties properties(Map<String, Object> settings) {
        var properties = new Properties();
        properties.put("bootstrap.servers", address);
        properties.put("request.timeout.ms", "15000");
        properties.put("default.api.timeout.ms", "20000");
        properties.putAll(settings);
        return properties;
    }

    private static List<String> numbers(int from, int to) {
        var numbers = new ArrayList<String>();
        for (int number = from; number < to; number++) {
            numbers.add(Integer.toString(number));
        }
        return numbers;
    }

    private static void expect(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }
}
