// Reads Strimzi resources with Strimzi's own model, the one its CRDs are made from, and names every field it does not
// know and every value it does not take. Usage: java -cp 'libs/*' StrimziCheck.java resources.yaml; prints one problem
// a line, nothing when all is well.

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import io.strimzi.api.kafka.model.kafka.Kafka;
import io.strimzi.api.kafka.model.nodepool.KafkaNodePool;
import io.strimzi.api.kafka.model.topic.KafkaTopic;
import io.strimzi.api.kafka.model.user.KafkaUser;
import java.io.File;
import java.util.Iterator;
import java.util.Map;

class StrimziCheck {
    private static final String VERSION = "kafka.strimzi.io/v1";
    private static final Map<String, Class<?>> MODELS = Map.of(
            "Kafka", Kafka.class,
            "KafkaNodePool", KafkaNodePool.class,
            "KafkaTopic", KafkaTopic.class,
            "KafkaUser", KafkaUser.class);

    public static void main(String[] arguments) throws Exception {
        ObjectMapper mapper = new ObjectMapper(new YAMLFactory())
                .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, true);
        Iterator<JsonNode> documents = mapper.readerFor(JsonNode.class).readValues(new File(arguments[0]));
        while (documents.hasNext()) {
            JsonNode document = documents.next();
            String kind = document.path("kind").asText();
            String name = kind + "/" + document.path("metadata").path("name").asText();
            Class<?> model = MODELS.get(kind);
            if (model == null) {
                System.out.println(name + ": not a kind that is checked here");
                continue;
            }
            if (!document.path("apiVersion").asText().equals(VERSION)) {
                System.out.println(name + ": apiVersion is not " + VERSION);
            }
            try {
                Object resource = mapper.treeToValue(document, model);
                compare(name, document, mapper.valueToTree(resource), resource);
                unknown(name, resource, 0);
            } catch (Exception error) {
                System.out.println(name + ": " + error.getMessage().replace('\n', ' '));
            }
        }
    }

    /** Values that the model turned into something else, or dropped, are values it does not take. */
    private static void compare(String path, JsonNode wanted, JsonNode taken, Object resource) {
        if (wanted.isObject()) {
            wanted.fields().forEachRemaining(field -> {
                JsonNode other = taken.path(field.getKey());
                if (other.isMissingNode() || other.isNull()) {
                    System.out.println(path + "." + field.getKey() + ": the model drops it");
                } else {
                    compare(path + "." + field.getKey(), field.getValue(), other, resource);
                }
            });
        } else if (wanted.isArray()) {
            for (int i = 0; i < wanted.size(); i++) {
                compare(path + "[" + i + "]", wanted.get(i), taken.path(i), resource);
            }
        } else if (taken.isMissingNode() || taken.isNull()) {
            System.out.println(path + ": " + wanted + " is no value of it");
        }
    }

    /** Fields that no property took; Strimzi keeps them aside to be able to warn. */
    private static void unknown(String path, Object node, int depth) throws Exception {
        if (node == null || depth > 12) {
            return;
        }
        if (node instanceof Iterable<?> list) {
            int index = 0;
            for (Object item : list) {
                unknown(path + "[" + index++ + "]", item, depth + 1);
            }
            return;
        }
        if (!node.getClass().getName().startsWith("io.strimzi") || node instanceof Enum<?>) {
            return;
        }
        for (var method : node.getClass().getMethods()) {
            if (method.getParameterCount() != 0 || !method.getName().startsWith("get")) {
                continue;
            }
            Object value = method.invoke(node);
            if (method.getName().equals("getAdditionalProperties")) {
                ((Map<?, ?>) value).keySet().forEach(key -> System.out.println(path + "." + key + ": unknown field"));
            } else {
                String name = method.getName().substring(3);
                unknown(path + "." + Character.toLowerCase(name.charAt(0)) + name.substring(1), value, depth + 1);
            }
        }
    }
}
