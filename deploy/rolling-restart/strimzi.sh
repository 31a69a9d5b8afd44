#!/bin/sh
# The same for a Kafka cluster run by Strimzi: rolls its pods one after the other by Strimzi's
# manual rolling update, and goes on only when tcpwnd says that the one before has no damaged
# connections.
#
#   strimzi.sh [options of rolling-restart.sh] POD...
#
#   KAFKA_NAMESPACE   of the pods (kafka)
#   TCPWND_NAMESPACE  of the DaemonSet of deploy/helm (tcpwnd)
#   ROLL_TIMEOUT      for which kubectl waits until a pod was rolled (15m)
#
# Asks through the API server: it wants to be allowed to get and watch pods and to annotate them in
# the one namespace, and to list pods and get pods/proxy in the other. Strimzi looks for the
# annotation when it reconciles, every two minutes unless told otherwise.
#
# Wants kubectl, jq, and rolling-restart.sh beside it. Exit codes are those of rolling-restart.sh.
set -eu

namespace=${KAFKA_NAMESPACE:-kafka}
agents=${TCPWND_NAMESPACE:-tcpwnd}
timeout=${ROLL_TIMEOUT:-15m}

# The agent is the one of the node that the pod is on now.
ask() {
    node=$(kubectl -n "$namespace" get pod "$BROKER" -o "jsonpath={.spec.nodeName}")
    agent=$(kubectl -n "$agents" get pod -l app.kubernetes.io/name=tcpwnd \
        --field-selector "spec.nodeName=$node,status.phase=Running" \
        -o "jsonpath={.items[0].metadata.name}")
    kubectl get --raw \
        "/api/v1/namespaces/$agents/pods/$agent:10435/proxy/api/v1/findings?$QUERY"
}

restart() {
    pod="pod/$BROKER"
    uid=$(kubectl -n "$namespace" get "$pod" -o "jsonpath={.metadata.uid}")
    kubectl -n "$namespace" annotate --overwrite "$pod" strimzi.io/manual-rolling-update=true
    # Strimzi deletes the pod and makes one of the same name.
    kubectl -n "$namespace" wait --for=delete --timeout="$timeout" "$pod"
    until new=$(kubectl -n "$namespace" get "$pod" -o "jsonpath={.metadata.uid}") &&
        [ "$new" != "$uid" ]; do
        sleep 1
    done
    kubectl -n "$namespace" wait --for=condition=Ready --timeout="$timeout" "$pod"
}

case ${1-} in
--ask) ask ;;
--restart) restart ;;
*)
    own=$(cd "$(dirname "$0")" && pwd)
    exec sh "$own/rolling-restart.sh" -r "sh '$own/strimzi.sh' --restart" \
        -a "sh '$own/strimzi.sh' --ask" "$@"
    ;;
esac
