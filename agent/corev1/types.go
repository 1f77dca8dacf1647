// Package corev1 is the part of the Kubernetes API group core/v1 that pullprobe reads and
// writes: the kinds and fields of k8s.io/api/core/v1 under their own names. That package
// registers all its kinds at its start, so that the linker keeps each of them: 3 MB of
// binary for seven kinds.
package corev1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Version returns the group and version of these kinds.
func Version() schema.GroupVersion { return schema.GroupVersion{Version: "v1"} }

// AddToScheme adds the kinds that can be read.
func AddToScheme(s *runtime.Scheme) {
	s.AddKnownTypes(Version(), &Pod{}, &PodList{}, &Node{}, &Secret{}, &ServiceAccount{}, &ConfigMap{}, &ConfigMapList{})
	metav1.AddToGroupVersion(s, Version())
}

// Pod is a pod.
type Pod struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              PodSpec   `json:"spec,omitzero"`
	Status            PodStatus `json:"status,omitzero"`
}

// PodList is a list of pods.
type PodList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Pod `json:"items"`
}

// PodSpec is what a pod is to run.
type PodSpec struct {
	Volumes             []Volume               `json:"volumes,omitempty"`
	InitContainers      []Container            `json:"initContainers,omitempty"`
	Containers          []Container            `json:"containers"`
	EphemeralContainers []EphemeralContainer   `json:"ephemeralContainers,omitempty"`
	NodeSelector        map[string]string      `json:"nodeSelector,omitempty"`
	ServiceAccountName  string                 `json:"serviceAccountName,omitempty"`
	NodeName            string                 `json:"nodeName,omitempty"`
	ImagePullSecrets    []LocalObjectReference `json:"imagePullSecrets,omitempty"`
	RuntimeClassName    *string                `json:"runtimeClassName,omitempty"`
	SchedulingGates     []PodSchedulingGate    `json:"schedulingGates,omitempty"`
}

// PodSchedulingGate keeps the scheduler from placing a pod until it is removed.
type PodSchedulingGate struct {
	Name string `json:"name"`
}

// Volume is a volume of a pod.
type Volume struct {
	Name         string `json:"name"`
	VolumeSource `json:",inline"`
}

// VolumeSource is where a volume comes from, as far as the kubelet has to wait for it.
type VolumeSource struct {
	EmptyDir              *Present                           `json:"emptyDir,omitempty"`
	Secret                *SecretVolumeSource                `json:"secret,omitempty"`
	PersistentVolumeClaim *PersistentVolumeClaimVolumeSource `json:"persistentVolumeClaim,omitempty"`
	DownwardAPI           *Present                           `json:"downwardAPI,omitempty"`
	ConfigMap             *ConfigMapVolumeSource             `json:"configMap,omitempty"`
	Projected             *ProjectedVolumeSource             `json:"projected,omitempty"`
	CSI                   *Present                           `json:"csi,omitempty"`
	Image                 *ImageVolumeSource                 `json:"image,omitempty"`
}

// Present is something of which only matters that it is there.
type Present struct{}

// SecretVolumeSource is a secret that is mounted as a volume.
type SecretVolumeSource struct {
	SecretName string `json:"secretName,omitempty"`
	Optional   *bool  `json:"optional,omitempty"`
}

// PersistentVolumeClaimVolumeSource is a claim that is mounted as a volume.
type PersistentVolumeClaimVolumeSource struct {
	ClaimName string `json:"claimName"`
}

// ConfigMapVolumeSource is a ConfigMap that is mounted as a volume.
type ConfigMapVolumeSource struct {
	LocalObjectReference `json:",inline"`
	Optional             *bool `json:"optional,omitempty"`
}

// ProjectedVolumeSource has several sources in one volume.
type ProjectedVolumeSource struct {
	Sources []VolumeProjection `json:"sources"`
}

// VolumeProjection is one source of a projected volume.
type VolumeProjection struct {
	Secret    *SecretProjection    `json:"secret,omitempty"`
	ConfigMap *ConfigMapProjection `json:"configMap,omitempty"`
}

// SecretProjection is a secret in a projected volume.
type SecretProjection struct {
	LocalObjectReference `json:",inline"`
	Optional             *bool `json:"optional,omitempty"`
}

// ConfigMapProjection is a ConfigMap in a projected volume.
type ConfigMapProjection SecretProjection

// ImageVolumeSource is an image that is mounted as a volume.
type ImageVolumeSource struct {
	Reference  string     `json:"reference,omitempty"`
	PullPolicy PullPolicy `json:"pullPolicy,omitempty"`
}

// PullPolicy is when the kubelet pulls an image.
type PullPolicy string

const (
	PullAlways       PullPolicy = "Always"
	PullNever        PullPolicy = "Never"
	PullIfNotPresent PullPolicy = "IfNotPresent"
)

// Container is a container of a pod.
type Container struct {
	Name            string                  `json:"name"`
	Image           string                  `json:"image,omitempty"`
	RestartPolicy   *ContainerRestartPolicy `json:"restartPolicy,omitempty"`
	VolumeMounts    []VolumeMount           `json:"volumeMounts,omitempty"`
	ReadinessProbe  *Present                `json:"readinessProbe,omitempty"`
	StartupProbe    *Present                `json:"startupProbe,omitempty"`
	ImagePullPolicy PullPolicy              `json:"imagePullPolicy,omitempty"`
}

// ContainerRestartPolicy is Always for a sidecar.
type ContainerRestartPolicy string

const ContainerRestartPolicyAlways ContainerRestartPolicy = "Always"

// EphemeralContainer is a container that was added for debugging.
type EphemeralContainer struct {
	EphemeralContainerCommon `json:",inline"`
}

// EphemeralContainerCommon has the fields of Container.
type EphemeralContainerCommon Container

// VolumeMount mounts a volume in a container.
type VolumeMount struct {
	Name string `json:"name"`
}

// PodStatus is what the kubelet reports of a pod.
type PodStatus struct {
	Phase                      PodPhase          `json:"phase,omitempty"`
	Conditions                 []PodCondition    `json:"conditions,omitempty"`
	Message                    string            `json:"message,omitempty"`
	Reason                     string            `json:"reason,omitempty"`
	StartTime                  *metav1.Time      `json:"startTime,omitempty"`
	InitContainerStatuses      []ContainerStatus `json:"initContainerStatuses,omitempty"`
	ContainerStatuses          []ContainerStatus `json:"containerStatuses,omitempty"`
	EphemeralContainerStatuses []ContainerStatus `json:"ephemeralContainerStatuses,omitempty"`
}

// PodPhase is where a pod is in its life.
type PodPhase string

const (
	PodPending   PodPhase = "Pending"
	PodRunning   PodPhase = "Running"
	PodSucceeded PodPhase = "Succeeded"
	PodFailed    PodPhase = "Failed"
)

// PodCondition is one condition of a pod.
type PodCondition struct {
	Type               PodConditionType `json:"type"`
	Status             ConditionStatus  `json:"status"`
	LastTransitionTime metav1.Time      `json:"lastTransitionTime,omitempty"`
}

// PodConditionType is the kind of a condition.
type PodConditionType string

const (
	PodReadyToStartContainers PodConditionType = "PodReadyToStartContainers"
	PodInitialized            PodConditionType = "Initialized"
)

// ConditionStatus is True, False or Unknown.
type ConditionStatus string

const ConditionTrue ConditionStatus = "True"

// ContainerStatus is what the kubelet reports of a container.
type ContainerStatus struct {
	Name                 string         `json:"name"`
	State                ContainerState `json:"state,omitzero"`
	LastTerminationState ContainerState `json:"lastState,omitzero"`
	Ready                bool           `json:"ready"`
	RestartCount         int32          `json:"restartCount"`
	Image                string         `json:"image"`
	ImageID              string         `json:"imageID"`
	Started              *bool          `json:"started,omitempty"`
}

// ContainerState has one field that is set, or none.
type ContainerState struct {
	Waiting    *ContainerStateWaiting    `json:"waiting,omitempty"`
	Running    *ContainerStateRunning    `json:"running,omitempty"`
	Terminated *ContainerStateTerminated `json:"terminated,omitempty"`
}

// ContainerStateWaiting is the state of a container that has not started.
type ContainerStateWaiting struct {
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// ContainerStateRunning is the state of a container that runs.
type ContainerStateRunning struct {
	StartedAt metav1.Time `json:"startedAt,omitempty"`
}

// ContainerStateTerminated is the state of a container that has ended.
type ContainerStateTerminated struct {
	ExitCode   int32       `json:"exitCode"`
	Reason     string      `json:"reason,omitempty"`
	Message    string      `json:"message,omitempty"`
	StartedAt  metav1.Time `json:"startedAt,omitempty"`
	FinishedAt metav1.Time `json:"finishedAt,omitempty"`
}

// Node is a node.
type Node struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            NodeStatus `json:"status,omitzero"`
}

// NodeStatus is what the kubelet reports of its node.
type NodeStatus struct {
	Conditions []NodeCondition `json:"conditions,omitempty"`
	NodeInfo   NodeSystemInfo  `json:"nodeInfo,omitzero"`
}

// NodeSystemInfo is what a node runs.
type NodeSystemInfo struct {
	KubeletVersion string `json:"kubeletVersion,omitempty"`
}

// NodeCondition is one condition of a node.
type NodeCondition struct {
	Type               NodeConditionType `json:"type"`
	Status             ConditionStatus   `json:"status"`
	LastTransitionTime metav1.Time       `json:"lastTransitionTime,omitempty"`
	Reason             string            `json:"reason,omitempty"`
}

// NodeConditionType is the kind of a condition.
type NodeConditionType string

const (
	NodeReady              NodeConditionType = "Ready"
	NodeDiskPressure       NodeConditionType = "DiskPressure"
	NodeNetworkUnavailable NodeConditionType = "NetworkUnavailable"
)

// Secret is a secret.
type Secret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Data              map[string][]byte `json:"data,omitempty"`
	Type              string            `json:"type,omitempty"`
}

// ServiceAccount is a ServiceAccount.
type ServiceAccount struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	ImagePullSecrets  []LocalObjectReference `json:"imagePullSecrets,omitempty"`
}

// LocalObjectReference names an object in the same namespace.
type LocalObjectReference struct {
	Name string `json:"name,omitempty"`
}

// ConfigMap is a ConfigMap.
type ConfigMap struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Data              map[string]string `json:"data,omitempty"`
}

// ConfigMapList is a list of ConfigMaps.
type ConfigMapList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ConfigMap `json:"items"`
}

// Event is an Event. It is written only.
type Event struct {
	metav1.TypeMeta     `json:",inline"`
	metav1.ObjectMeta   `json:"metadata"`
	InvolvedObject      ObjectReference  `json:"involvedObject"`
	Reason              string           `json:"reason,omitempty"`
	Message             string           `json:"message,omitempty"`
	Source              EventSource      `json:"source,omitempty"`
	FirstTimestamp      metav1.Time      `json:"firstTimestamp,omitempty"`
	LastTimestamp       metav1.Time      `json:"lastTimestamp,omitempty"`
	Count               int32            `json:"count,omitempty"`
	Type                string           `json:"type,omitempty"`
	EventTime           metav1.MicroTime `json:"eventTime,omitempty"`
	Action              string           `json:"action,omitempty"`
	ReportingController string           `json:"reportingComponent"`
	ReportingInstance   string           `json:"reportingInstance"`
}

const (
	EventTypeNormal  = "Normal"
	EventTypeWarning = "Warning"
)

// ObjectReference names the object of an Event.
type ObjectReference struct {
	Kind       string    `json:"kind,omitempty"`
	Namespace  string    `json:"namespace,omitempty"`
	Name       string    `json:"name,omitempty"`
	UID        types.UID `json:"uid,omitempty"`
	APIVersion string    `json:"apiVersion,omitempty"`
}

// EventSource is who reports an Event.
type EventSource struct {
	Component string `json:"component,omitempty"`
	Host      string `json:"host,omitempty"`
}

// copyOf returns a copy of an object. It shares what is in it: no object is changed.
func copyOf[T any, P interface {
	*T
	runtime.Object
}](p P) runtime.Object {
	c := *p
	return P(&c)
}

// DeepCopyObject implements runtime.Object, as do those below.
func (p *Pod) DeepCopyObject() runtime.Object            { return copyOf(p) }
func (p *PodList) DeepCopyObject() runtime.Object        { return copyOf(p) }
func (n *Node) DeepCopyObject() runtime.Object           { return copyOf(n) }
func (s *Secret) DeepCopyObject() runtime.Object         { return copyOf(s) }
func (s *ServiceAccount) DeepCopyObject() runtime.Object { return copyOf(s) }
func (c *ConfigMap) DeepCopyObject() runtime.Object      { return copyOf(c) }
func (c *ConfigMapList) DeepCopyObject() runtime.Object  { return copyOf(c) }
