import java.io.IOException;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

/** Writes the log of a small billing service with log4j, stack traces included. Used once, to record samples/java-billing.log. */
public class Billing {
    private static final Logger LOG = LogManager.getLogger("shop.billing.Billing");
    private static final Logger STORE = LogManager.getLogger("shop.billing.InvoiceStore");
    private static final String[] CUSTOMERS = {"ACME Ltd", "Müller GmbH", "globex", "initech", "Soylent Corp"};
    private final Random random = new Random(11);

    private void charge(int invoice, String customer) throws IOException {
        if (random.nextInt(9) == 0) {
            throw new IOException("connection to bank-" + random.nextInt(4) + ".example:8443 reset by peer");
        }
        LOG.info("Charged invoice {} of customer {}: {} EUR in {} ms", invoice, customer, random.nextInt(90000) / 100.0, random.nextInt(700));
    }

    private void settle(int invoice, String customer) {
        try {
            charge(invoice, customer);
        } catch (IOException cause) {
            throw new IllegalStateException("invoice " + invoice + " could not be settled", cause);
        }
    }

    private void run(int round) {
        String customer = CUSTOMERS[random.nextInt(CUSTOMERS.length)];
        int invoice = 40000 + random.nextInt(9999);
        switch (random.nextInt(7)) {
            case 0 -> STORE.debug("Loaded {} invoices from /var/lib/billing/{}.db", random.nextInt(300), customer.toLowerCase().replace(' ', '-'));
            case 1 -> STORE.info("Invoice {} written to page {} at offset 0x{}", invoice, random.nextInt(900), Integer.toHexString(random.nextInt()));
            case 2 -> LOG.warn("Retrying charge of invoice {} (attempt {} of 3)", invoice, 1 + random.nextInt(3));
            case 3 -> LOG.info("Round {} done, heap used {} MB", round, 40 + random.nextInt(60));
            default -> {
                try {
                    settle(invoice, customer);
                } catch (IllegalStateException failure) {
                    LOG.error("Settlement failed for customer " + customer, failure);
                }
            }
        }
    }

    public static void main(String[] arguments) throws InterruptedException, ExecutionException {
        Billing billing = new Billing();
        ExecutorService pool = Executors.newFixedThreadPool(3, task -> new Thread(task, "billing-" + (int) (Math.random() * 3)));
        for (int round = 0; round < 720; round++) {
            int number = round;
            pool.submit(() -> billing.run(number)).get();
        }
        pool.shutdown();
    }
}
