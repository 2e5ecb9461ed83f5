/** The types of the administrative operations' results: those of their schemas (see result-schemas.ts). */
import type { z } from 'zod'
import type * as results from './result-schemas.js'
import type * as cluster from './result-schemas-cluster.js'
import type * as diagnosis from './result-schemas-diagnosis.js'
import type * as nodes from './result-schemas-nodes.js'
import type * as rules from './rule-schemas.js'

export type NodeAssignedRole = z.infer<typeof cluster.nodeAssignedRole>
export type NodeStatus = z.infer<typeof cluster.nodeStatus>
export type ClusterStatus = z.infer<typeof cluster.clusterStatus>
export type ClusterHealthInfo = z.infer<typeof cluster.clusterHealth>
export type ConnectNodeResult = z.infer<typeof cluster.connectNodeResult>
export type ClusterLayout = z.infer<typeof cluster.clusterLayout>
export type LayoutPreview = z.infer<typeof cluster.layoutPreview>
export type LayoutStatistics = z.infer<typeof cluster.layoutStatistics>
export type LayoutPlanAnswer = z.infer<typeof cluster.layoutPlan>
export type LayoutHistory = z.infer<typeof cluster.layoutHistory>
export type ClusterStatistics = z.infer<(typeof cluster.clusterResults)['cluster.statistics']>

export type NodeInfoAnswer = z.infer<typeof nodes.nodeInfo>
export type ConnectionParameters = NodeInfoAnswer['connectionParameters']
export type NodeProgress = z.infer<typeof nodes.nodeProgress>
export type ClusterProgress = z.infer<typeof nodes.clusterProgress>
export type NodeStatistics = z.infer<typeof nodes.nodeStatistics>
export type WorkerInfo = z.infer<typeof nodes.workerInfo>
export type BlockError = z.infer<typeof nodes.blockError>
export type BlockBacklink = z.infer<typeof nodes.blockBacklink>
export type BlockInfo = z.infer<typeof nodes.blockInfo>

export type MachineFacts = z.infer<typeof diagnosis.machineFacts>
export type NodeDiagnostics = z.infer<typeof diagnosis.nodeDiagnostics>
export type QueueFact = z.infer<typeof diagnosis.queueFact>
export type Finding = z.infer<typeof diagnosis.finding>
export type ClusterDiagnosis = z.infer<typeof diagnosis.clusterDiagnosis>
export type ProcessFigures = z.infer<typeof diagnosis.processFigures>
export type NodeFigures = z.infer<typeof diagnosis.nodeFigures>

export type BucketListItem = z.infer<typeof results.bucketListItem>
export type BucketInfo = z.infer<typeof results.bucketInfo>
export type KeyListItem = z.infer<typeof results.keyListItem>
export type KeyInfo = z.infer<typeof results.keyInfo>
export type AdminTokenInfo = z.infer<typeof results.adminTokenInfo>
export type ObjectVersionInfo = z.infer<typeof results.objectVersionInfo>
export type ObjectInspection = z.infer<typeof results.objectInspection>

export type CorsRuleJson = z.infer<typeof rules.corsRule>
export type LifecycleRuleJson = z.infer<typeof rules.lifecycleRule>
export type RoutingRuleJson = z.infer<typeof rules.routingRule>

/** Answers of several nodes, by node id. */
export interface MultiResponse<T> {
  success: Record<string, T>
  error: Record<string, string>
}
